"""Exceptions as data: every exception becomes a description, and is rebuilt where that is possible."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from django_workflows import exceptions
from django_workflows.serialization import decode_error, encode_error, loads

from .payload_types import Declined, NeedsResponse, Plain, SneakyExit

KEYS = {"type", "message", "args", "traceback", "cause"}


def raised(exc: BaseException) -> BaseException:
    try:
        raise exc
    except BaseException as caught:
        return caught


def payload(exc: BaseException) -> dict[str, Any]:
    text = encode_error(exc)
    assert text.isascii()
    decoded: dict[str, Any] = loads(text)
    assert decoded.keys() - {"attributes", "members"} == KEYS
    return decoded


def again(exc: BaseException) -> BaseException | None:
    return decode_error(payload(exc))


class TestEncodeError:
    def test_it_says_type_message_args_traceback_and_cause(self) -> None:
        try:
            try:
                raise KeyError("inner")
            except KeyError as inner:
                raise Declined(402) from inner
        except Declined as outer:
            error = payload(outer)
        assert error["type"] == "tests.serialization.payload_types.Declined"
        assert error["message"] == "declined with 402"
        assert error["args"] == ["declined with 402"]
        assert error["attributes"] == {"code": 402, "retry": False}
        assert 'raise KeyError("inner")' in error["traceback"]
        assert "direct cause" in error["traceback"]
        assert (error["cause"]["type"], error["cause"]["args"]) == ("KeyError", ["inner"])
        assert error["cause"]["cause"] is None
        assert "Declined" not in error["cause"]["traceback"]

    def test_the_context_counts_as_the_cause_unless_suppressed(self) -> None:
        def fail() -> None:
            try:
                raise KeyError("inner")
            except KeyError:
                raise ValueError("outer") from None

        with pytest.raises(ValueError) as caught:
            fail()
        assert payload(caught.value)["cause"] is None
        caught.value.__suppress_context__ = False
        assert payload(caught.value)["cause"]["type"] == "KeyError"

    def test_args_keep_their_types_and_what_cannot_be_encoded_is_described(self) -> None:
        error = payload(ValueError((1, {2}), Plain(), threading.Lock()))
        assert error["args"][0] == (1, {2})
        assert error["args"][1].startswith("<tests.serialization.payload_types.Plain object")
        assert "lock" in error["args"][2]

    def test_a_ring_of_causes_is_described_once(self) -> None:
        error = payload(_ring())
        assert [error["message"], error["cause"]["message"], error["cause"]["cause"]] == ["first", "second", None]

    def test_everything_is_bounded(self) -> None:
        huge = ValueError("x" * 5_000_000, list(range(1_000_000)), {"k": Plain("y" * 5_000_000)}, *range(1000))
        huge.add_note("n" * 1_000_000)
        cause: BaseException = huge
        for number in range(50):
            outer = ValueError(f"{number} " + "z" * 1_000_000)
            outer.__cause__ = cause
            cause = outer
        assert len(encode_error(cause)) < 400_000
        assert len(encode_error(huge)) < 100_000

        depth, error = 0, payload(cause)
        while error["cause"]:
            depth, error = depth + 1, error["cause"]
        assert depth == 5

    def test_a_bounded_traceback_keeps_its_end(self) -> None:
        def recurse(level: int) -> None:
            if not level:
                raise ValueError("x" * 100_000 + "the end")
            recurse(level - 1)

        with pytest.raises(ValueError) as caught:
            recurse(300)
        text = payload(caught.value)["traceback"]
        assert len(text) < 21_000
        assert text.rstrip().endswith("the end")
        assert text.startswith("Traceback")

    def test_odd_text_survives(self) -> None:
        text = "a\x00b \ud800 \U0001f600"
        assert payload(ValueError(text))["message"] == text


class BrokenText(Exception):
    def __str__(self) -> str:
        raise SystemExit("from __str__")

    __repr__ = __str__


class BrokenArgs(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no args")


class OddText(Exception):
    def __str__(self) -> Any:
        return 5  # noqa: PLE0307


class BrokenRepr:
    def __repr__(self) -> str:
        raise KeyboardInterrupt


class BrokenDict(Exception):
    def __getattribute__(self, name: str) -> Any:
        if name in ("__dict__", "args"):
            raise ValueError(name)
        return super().__getattribute__(name)


def _ring() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def _self_containing() -> BaseException:
    exc = ValueError("x")
    exc.args = (exc, [exc])
    exc.me = exc  # type: ignore[attr-defined]
    return exc


class TestNothingIsTooBroken:
    @pytest.mark.parametrize(
        "exc",
        [
            BrokenText("x"),
            BrokenArgs("x"),
            BrokenDict("x"),
            OddText("x"),
            ValueError(BrokenRepr()),
            ValueError([BrokenRepr()] * 3),
            _ring(),
            _self_containing(),
            ExceptionGroup("several", [ValueError(1), BrokenText()]),
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
            SystemExit(3),
            KeyboardInterrupt(),
            StopIteration(1),
            RecursionError("deep"),
        ],
        ids=lambda exc: type(exc).__name__,
    )
    def test_an_exception_always_becomes_a_description(self, exc: BaseException) -> None:
        error = payload(raised(exc))
        assert error["type"].endswith(type(exc).__qualname__)
        assert isinstance(error["message"], str)
        assert isinstance(error["traceback"], str)
        again = decode_error(error)
        assert again is None or type(again) is type(exc)

    def test_a_recursion_error_deep_in_the_stack_is_described(self) -> None:
        def recurse() -> None:
            recurse()

        with pytest.raises(RecursionError) as caught:
            recurse()
        assert payload(caught.value)["type"] == "RecursionError"


class TestDecodeError:
    def test_built_in_and_own_classes_come_back_with_args_and_cause(self) -> None:
        exc = ValueError("a", (1, 2))
        exc.__cause__ = KeyError("k")
        back = again(exc)
        assert type(back) is ValueError
        assert back.args == ("a", (1, 2))
        assert isinstance(back.__cause__, KeyError)
        assert again(Declined.Permanently("nested")) is not None

    def test_an_error_of_the_system_keeps_its_number(self) -> None:
        back = again(FileNotFoundError(2, "gone", "/x"))
        assert isinstance(back, FileNotFoundError)
        assert (back.errno, back.args) == (2, (2, "gone"))

    def test_attributes_come_back_where_init_takes_other_arguments(self) -> None:
        back = again(Declined(402, retry=True))
        assert isinstance(back, Declined)
        assert (back.code, back.retry, str(back)) == (402, True, "declined with 402")

    def test_a_group_comes_back_with_its_members(self) -> None:
        inner = ExceptionGroup("inner", [exceptions.FatalError("now"), Declined(402, retry=True)])
        back = again(ExceptionGroup("outer", [ValueError(1), inner]))
        assert isinstance(back, ExceptionGroup)
        assert back.message == "outer"
        refused, rest = back.split(Declined)
        assert refused is not None
        assert rest is not None
        assert [type(error) for error in rest.exceptions] == [ValueError, ExceptionGroup]

    def test_a_group_with_a_member_that_cannot_be_rebuilt_is_only_described(self) -> None:
        class LocalError(Exception):
            pass

        error = payload(ExceptionGroup("outer", [ValueError(1), LocalError("x")]))
        assert decode_error(error) is None
        assert [member["message"] for member in error["members"]] == ["1", "x"]

    def test_a_group_of_groups_of_groups_is_described_within_bounds(self) -> None:
        group = ExceptionGroup("leaf", [ValueError(n) for n in range(200)])
        for _ in range(10):
            group = ExceptionGroup("level", [group, group, group])
        assert len(encode_error(group)) < 1_000_000

    def test_a_timeout_of_a_step_keeps_what_it_says(self) -> None:
        back = again(exceptions.StepTimeoutError("shop.charge", timedelta(seconds=0.3), 2))
        assert isinstance(back, exceptions.StepTimeoutError)
        assert isinstance(back, TimeoutError)
        assert (back.step, back.limit, back.attempt) == ("shop.charge", timedelta(seconds=0.3), 2)
        assert str(back) == "Attempt 2 of step shop.charge did not end within 0.3 s."

    def test_notes_come_back(self) -> None:
        exc = ValueError("x")
        exc.add_note("a note")
        back = again(exc)
        assert back is not None
        assert back.__notes__ == ["a note"]

    @pytest.mark.parametrize(
        "exc",
        [
            exceptions.HookConflictError("token", "wrun_1"),
            exceptions.FenceConflictError("wrun_1", 5, 6),
            exceptions.RunNotFoundError("wrun_1"),
            exceptions.RunFailedError("wrun_1", "KeyError", "'x'"),
            exceptions.SerializationError("no", "args[0]"),
            exceptions.RetryableError("later", retry_after=5),
            exceptions.FatalError("now"),
            exceptions.PayloadTooLargeError(5, 4),
        ],
        ids=lambda exc: exc.code,
    )
    def test_the_librarys_own_errors_come_back_whole(self, exc: Exception) -> None:
        back = again(exc)
        assert type(back) is type(exc)
        assert (str(back), back.__dict__) == (str(exc), exc.__dict__)

    def test_djangos_validation_error_comes_back(self) -> None:
        back = again(ValidationError("%(n)s is wrong", code="wrong", params={"n": 5}))
        assert isinstance(back, ValidationError)
        assert (back.code, back.messages) == ("wrong", ["5 is wrong"])

    def test_an_exception_that_would_come_back_as_half_of_itself_does_not(self) -> None:
        assert again(NeedsResponse(Plain(), 5)) is None

    @pytest.mark.parametrize(
        "exc",
        [SystemExit(1), KeyboardInterrupt(), SneakyExit(1), GeneratorExit(), StopIteration(1), StopAsyncIteration()],
    )
    def test_what_would_end_a_process_or_confuse_a_future_does_not_come_back(self, exc: BaseException) -> None:
        assert again(exc) is None

    def test_a_class_inside_a_function_does_not_come_back(self) -> None:
        class Local(Exception):
            pass

        assert again(Local("x")) is None

    @pytest.mark.parametrize(
        "name",
        [
            "os.system",
            "subprocess.Popen",
            "builtins.eval",
            "eval",
            "print",
            "int",
            "tests.serialization.payload_types.Plain",
            "tests.serialization.payload_types.Gone",
            "tests.serialization.payload_types.Plain.Gone",
            "tests.serialization.payload_types.not_a_class",
            "no.such.module.Error",
            "..",
            "",
            "a b",
            "BaseException",
        ],
    )
    def test_names_of_other_things_are_not_called(self, name: str) -> None:
        assert decode_error({"type": name, "message": "m", "args": ["true"], "traceback": "", "cause": None}) is None

    @pytest.mark.parametrize(
        "content", [{}, {"type": 5, "args": []}, {"type": "ValueError", "args": 5}, {"type": "ValueError"}]
    )
    def test_a_payload_that_is_not_ours_gives_none(self, content: dict[str, Any]) -> None:
        assert decode_error(content) is None

    def test_the_description_of_an_ordinary_exception_is_plain_json(self) -> None:
        assert json.loads(encode_error(ValueError("x")))["args"] == ["x"]
