from __future__ import annotations

import os
import re
import threading
from datetime import timedelta

import pytest

from django_workflows.values import clock, ids


class TestIds:
    @pytest.mark.parametrize(
        ("make", "prefix"),
        [
            (ids.run_id, "wrun"),
            (ids.step_id, "step"),
            (ids.hook_id, "hook"),
            (ids.wait_id, "wait"),
            (ids.worker_id, "wrkr"),
        ],
    )
    def test_an_id_is_a_prefix_and_a_ulid(self, make: object, prefix: str) -> None:
        assert callable(make)
        assert re.fullmatch(prefix + "_[0-9A-HJKMNP-TV-Z]{26}", make())

    def test_a_later_id_sorts_after_an_earlier_one(self) -> None:
        earlier = ids.run_id()
        clock.advance(timedelta(seconds=1))
        try:
            assert ids.run_id() > earlier
        finally:
            clock.reset()

    def test_an_id_tells_nothing_about_the_next_one(self) -> None:
        assert len({ids.run_id()[-16:-6] for _ in range(200)}) == 200  # a counting generator shares all but the end

    def test_threads_make_different_ids(self) -> None:
        made: list[str] = []
        threads = [threading.Thread(target=lambda: made.extend(ids.run_id() for _ in range(500))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(made)) == 4000

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    def test_processes_forked_from_one_make_different_ids(self) -> None:
        ids.run_id()
        made = []
        for _ in range(2):
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                os.write(writer, " ".join(ids.run_id()[-16:] for _ in range(20)).encode())
                os._exit(0)
            os.waitpid(child, 0)
            made += os.read(reader, 10_000).decode().split()
            os.close(reader)
            os.close(writer)
        assert len(set(made)) == 40


class TestTokens:
    def test_a_new_token_is_valid_long_and_never_the_same(self) -> None:
        tokens = {ids.new_token() for _ in range(100)}
        assert len(tokens) == 100
        assert all(ids.validate_token(token) == token and len(token) == 32 for token in tokens)

    @pytest.mark.parametrize("token", ["a", "packed:42", "A-Za-z0-9._~:@+=,-", "x" * 255])
    def test_what_fits_into_a_path_is_accepted(self, token: str) -> None:
        assert ids.validate_token(token) == token

    @pytest.mark.parametrize(
        ("token", "message"),
        [
            ("", "is empty"),
            ("x" * 256, "256 characters"),
            ("a b", "' '"),
            ("a/b", "'/'"),
            ("a\n", r"'\\n'"),
            ("é", "'é'"),
            ("a%20", "'%'"),
            ("\ud800", "contains"),
            (5, "not int"),
            (None, "not NoneType"),
        ],
    )
    def test_what_does_not_is_refused_with_advice(self, token: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ids.validate_token(token)


def test_a_token_is_secret_where_it_was_generated_or_belongs_to_a_webhook() -> None:
    assert ids.is_secret(ids.new_token(), is_webhook=False)
    assert ids.is_secret("packed:41", is_webhook=True)
    assert not ids.is_secret("packed:41", is_webhook=False)
