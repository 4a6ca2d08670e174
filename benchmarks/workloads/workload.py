"""What a workload is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.figures import Figure
from benchmarks.stage import FLOOR, Engine, Stage

#: gets the stage and a factor on the number of samples
Measure = Callable[[Stage, float], Iterator[Figure]]


@dataclass(frozen=True)
class Workload:
    """``workers``: processes of the one worker that is started before; 0 where ``measure`` sees to that itself.

    ``peers``: peers can do it as well, and ``inside`` also one whose client is the worker. ``once``: a peer does it in the
    first repetition only, because of how long it takes. ``sqlite``: it makes sense on SQLite. ``engine``: only for it.
    """

    name: str
    group: str
    measure: Measure
    workers: int = 1
    peers: bool = False
    inside: bool = True
    once: bool = False
    sqlite: bool = False
    engine: Engine | None = None

    def suits(self, engine: Engine, repetition: int) -> bool:
        if self.engine is not None or engine == FLOOR:
            return self.engine == engine
        if engine.sqlite:
            return self.sqlite
        if not engine.peer:
            return True
        return self.peers and (self.inside or engine.worker is not None) and not (self.once and repetition)
