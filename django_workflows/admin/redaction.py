"""What pages hide: secret tokens from users who may not use them, and a run's seed from every user."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from ..eventlog.events import RunCreated
from ..inspection.text import mask_token
from ..models import Hook, Run
from ..serialization.columns import decrypted
from ..values.ids import is_secret

#: tokens that are looked for
MOST = 2000
_SEED = re.compile(r'("seed"\s*:\s*)"[^"]*"')


class Redactor:
    """Replaces the runs' secret tokens in text, wherever they turn up. With ``show`` only the seed is hidden."""

    def __init__(self, runs: Sequence[Run], *, show: bool) -> None:
        self._tokens: list[tuple[str, str]] = []
        ids = [run.pk for run in runs]
        if show or not ids:
            return
        rows = Hook.objects.filter(run_id__in=ids).values_list("token", "is_webhook")
        for token, is_webhook in rows[:MOST]:
            if is_secret(token, is_webhook):
                written = json.dumps(token)[1:-1]
                self._tokens.append((written, mask_token(token, is_webhook)))

    def __call__(self, text: str) -> str:
        for token, instead in self._tokens:
            text = text.replace(token, instead)
        return text

    def event(self, type: str, text: str) -> str:
        """The data of an event. The seed of a run's random numbers is never shown."""
        if type == RunCreated.type:
            text = _SEED.sub(r'\1"(not shown)"', text)
        return self(text)

    def stored(self, text: str | None) -> str | None:
        """A payload column's text, decrypted where it has to be."""
        found = decrypted(text)
        return None if found is None else self(found)
