"""What a page keeps to itself: tokens that open a door, from those who may not use them; the seed, from everybody."""

from __future__ import annotations

import json
import re

from ..insight.words import is_secret, masked
from ..models import Hook, Run
from ..services import database

_SEED = re.compile(r'("seed"\s*:\s*)"[^"]*"')


class Redactor:
    """Replaces a run's secret tokens in encoded text, wherever they turn up. With ``show`` only the seed is hidden."""

    def __init__(self, run: Run, *, show: bool) -> None:
        self._tokens: list[tuple[str, str]] = []
        if show:
            return
        rows = Hook.objects.using(database.alias()).filter(run_id=run.pk).values_list("token", "is_webhook")
        for token, is_webhook in rows[:1000]:
            if is_secret(token, is_webhook):
                written = json.dumps(token)[1:-1]
                self._tokens.append((written, masked(token, is_webhook)))

    def __call__(self, text: str | None) -> str | None:
        if text is None:
            return None
        for token, instead in self._tokens:
            text = text.replace(token, instead)
        return text

    def event(self, type: str, text: str) -> str:
        """The data of an event. The seed of a run's random numbers is shown to nobody."""
        if type == "run_created":
            text = _SEED.sub(r'\1"(not shown)"', text)
        return self(text) or ""
