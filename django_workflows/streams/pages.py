"""Reading streams: pages of chunks by index, and the end of a stream seen only when nothing can follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..eventlog.statuses import TERMINAL_RUN
from ..exceptions import RunNotFoundError
from ..models import Run, Stream
from ..notify.watcher import NOTHING
from ..serialization import Encoded
from ..serialization.encryption import decrypt
from ..store import database
from ..store.transactions import atomic
from .writing import stream_key

#: what one page holds at most: chunks, and characters of encoded text (the first chunk always)
MAX_CHUNKS = 256
MAX_CHARACTERS = 1024 * 1024

_READ = """
SELECT idx, data FROM (
    SELECT idx, data, SUM({length}(data)) OVER (ORDER BY idx) - {length}(data) AS before FROM (
        SELECT "index" AS idx, data FROM django_workflows_streamchunk
        WHERE run_id = %s AND stream = %s AND "index" >= %s ORDER BY "index" LIMIT %s
    ) AS chunk
) AS measured WHERE before < %s ORDER BY idx
"""


@dataclass(frozen=True, slots=True)
class Page:
    """``chunks``: (index, encoded value) in order. ``next_index``: where the next page starts. ``done``: nothing will follow."""

    chunks: Sequence[tuple[int, Encoded]]
    next_index: int
    done: bool


@dataclass(frozen=True, slots=True)
class PageQuestion:
    """The chunks from ``start_index`` on. A negative index counts back from the tail; that is answered at once."""

    run_id: str
    stream: str
    start_index: int
    limit: int = MAX_CHUNKS

    @property
    def keys(self) -> Sequence[str]:
        """What changes when the stream grows, is closed, or its run ends."""
        return (stream_key(self.run_id, self.stream), self.run_id)


class StreamPages:
    """Answers :class:`PageQuestion` with the page, once it has a chunk or is the last; an unknown run with an error."""

    def poll(self, questions: Sequence[PageQuestion]) -> Sequence[object]:
        """For each question its page or error, or ``NOTHING``: two queries for all, and one for each page with chunks."""
        run_ids = {question.run_id for question in questions}
        # The status first: chunks written before a run's end are there by the time that the end is seen.
        statuses = dict(Run.objects.filter(pk__in=run_ids).values_list("pk", "status"))
        rows = Stream.objects.filter(run_id__in=run_ids)
        rows = rows.filter(name__in={question.stream for question in questions})
        heads = {
            (run_id, name): (head, closed_at is not None)
            for run_id, name, head, closed_at in rows.values_list("run_id", "name", "next_index", "closed_at")
        }
        return [
            self._answer(
                question, statuses.get(question.run_id), *heads.get((question.run_id, question.stream), (0, False))
            )
            for question in questions
        ]

    def _answer(self, question: PageQuestion, status: str | None, head: int, closed: bool) -> object:
        if status is None:
            return RunNotFoundError(question.run_id)
        start = question.start_index
        if start < 0:
            return Page((), max(0, head + start), False)
        over = closed or status in TERMINAL_RUN
        if over and not closed:
            head = _final_head(question)
        if start < head:
            return _read(question, done=over, head=head)
        return Page((), head, True) if over else NOTHING


def _final_head(question: PageQuestion) -> int:
    """The length of a stream whose run has ended: a writer that was still under way has finished once the lock is ours."""
    with atomic():
        rows = Stream.objects.select_for_update(no_key=True)
        stream = rows.filter(run_id=question.run_id, name=question.stream).first()
        return 0 if stream is None else stream.next_index


def _read(question: PageQuestion, *, done: bool, head: int) -> Page:
    sql = _READ.format(length="octet_length" if database.is_postgresql() else "length")
    values: list[str | int] = [question.run_id, question.stream, question.start_index, question.limit, MAX_CHARACTERS]
    with database.connection().cursor() as cursor:
        cursor.execute(sql, values)
        chunks = [(index, Encoded(decrypt(text))) for index, text in cursor.fetchall()]
    following = chunks[-1][0] + 1 if chunks else question.start_index
    return Page(chunks, following, done and following >= head)


PAGES = StreamPages()
