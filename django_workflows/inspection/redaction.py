"""What doors hide: secret tokens from users who may not use them, and a run's seed from every user.

A token is recognised in three ways: it belongs to one of the runs that are shown; it stands behind the path of the
project's webhooks; or it looks like one that was generated, and the table of hooks, asked for it, says that it is one.
So a run that was handed the webhook of another run does not show it either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..eventlog.events import RunCreated
from ..models import Hook
from ..serialization.columns import decrypted
from ..store.webhook_url import webhook_prefix
from ..values.ids import is_secret
from .text import mask_token

#: tokens of the runs themselves that are looked for
MOST = 2000
#: what looks like a token and is looked up; what is beyond that in one answer is hidden unasked
MOST_LOOKED_UP = 10_000
#: a chosen token that is shorter would be found inside ordinary words; it is masked where it stands as a token
SHORTEST = 6
_BATCH = 1000
_SEED = re.compile(r'("seed"\s*:\s*)"[^"]*"')
_GENERATED = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{32}(?![A-Za-z0-9_-])")
_TOKEN_FIELD = re.compile(r'"token"\s*:\s*"([^"\\]+)"')
_CHARACTERS = "[A-Za-z0-9._~:@+=,%-]+"


class Redactor:
    """Replaces secret tokens in text by their first characters. With ``show`` only the seed is hidden.

    ``runs``: ids of the runs that are shown, whose own tokens are found wherever they turn up.
    """

    def __init__(self, runs: Sequence[str], *, show: bool) -> None:
        self._show = show
        self._own: list[tuple[str, str]] = []
        self._known: dict[str, str] = {}
        self._behind = re.compile(f"({re.escape(webhook_prefix())})({_CHARACTERS})")
        if show or not runs:
            return
        rows = Hook.objects.filter(run_id__in=runs).values_list("token", "is_webhook")
        for token, is_webhook in rows[:MOST]:
            if is_secret(token, is_webhook) and len(token) >= SHORTEST:
                self._own.append((json.dumps(token)[1:-1], mask_token(token, is_webhook)))

    def __call__(self, text: str) -> str:
        if self._show:
            return text
        self._look_up(_GENERATED.findall(text))
        return self._hide(text)

    def event(self, type: str, text: str) -> str:
        """The data of an event. The seed of a run's random numbers is never shown."""
        if type == RunCreated.type:
            text = _SEED.sub(r'\1"(not shown)"', text)
        if not self._show:
            self._look_up(tokens := _TOKEN_FIELD.findall(text))
            for token in tokens:
                text = text.replace(f'"{token}"', f'"{self._known[token]}"')
        return self(text)

    def stored(self, text: str | None) -> str | None:
        """A payload column's text, decrypted where it has to be."""
        found = decrypted(text)
        return None if found is None else self(found)

    def value(self, value: Any) -> Any:
        """JSON, with every text in it redacted; one query for all of them."""
        if self._show:
            return value
        self._look_up(_candidates(value))
        return self._hide_in(value)

    def _look_up(self, candidates: Iterable[str]) -> None:
        unknown = list(dict.fromkeys(token for token in candidates if token not in self._known))
        self._known.update((token, mask_token(token, True)) for token in unknown[MOST_LOOKED_UP:])
        for start in range(0, min(len(unknown), MOST_LOOKED_UP), _BATCH):
            batch = unknown[start : start + _BATCH]
            found = dict(Hook.objects.filter(token__in=batch).order_by("is_webhook").values_list("token", "is_webhook"))
            for token in batch:
                self._known[token] = mask_token(token, found[token]) if token in found else token

    def _hide_in(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._hide(value)
        if isinstance(value, dict):
            return {self._generated(key): self._hide_in(self._whole(key, item)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._hide_in(item) for item in value]
        return value

    def _whole(self, key: str, value: Any) -> Any:
        """A field that holds a token and nothing else, which may be a chosen one."""
        return self._known.get(value, value) if key == "token" and isinstance(value, str) else value

    def _hide(self, text: str) -> str:
        text = self._behind.sub(lambda match: match[1] + mask_token(match[2], True), text)
        for token, instead in self._own:
            text = text.replace(token, instead)
        return self._generated(text)

    def _generated(self, text: str) -> str:
        return _GENERATED.sub(lambda match: self._known.get(match[0], match[0]), text)


def _candidates(value: Any) -> Iterator[str]:
    """What may be a token, in JSON."""
    if isinstance(value, str):
        yield from _GENERATED.findall(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _candidates(key)
            yield from [item] if key == "token" and isinstance(item, str) else _candidates(item)
    elif isinstance(value, list):
        for item in value:
            yield from _candidates(item)
