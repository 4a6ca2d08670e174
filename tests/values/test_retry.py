from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_workflows.values.retry import RetryPolicy


class TestDelay:
    def test_the_defaults_double_from_a_second(self) -> None:
        assert [RetryPolicy().delay(n).total_seconds() for n in (1, 2, 3, 4)] == [1, 2, 4, 8]

    def test_it_is_capped(self) -> None:
        policy = RetryPolicy(retry_delay=10, backoff=3, max_retry_delay=50)
        assert [policy.delay(n).total_seconds() for n in (1, 2, 3)] == [10, 30, 50]
        assert RetryPolicy(retry_delay=600).delay(1) == timedelta(seconds=300)

    def test_delays_may_be_given_in_every_form(self) -> None:
        policy = RetryPolicy(retry_delay="5s", max_retry_delay=timedelta(minutes=1), backoff=1)  # type: ignore[arg-type]
        assert (policy.retry_delay, policy.max_retry_delay) == (5.0, 60.0)
        assert policy.delay(100) == timedelta(seconds=5)

    @given(
        st.integers(1, 10**9),
        st.floats(0, 1e9),
        st.floats(1, 1e300),
        st.floats(0, 1e9),
        st.floats(0, 1, exclude_max=True),
    )
    def test_it_never_overflows_and_jitter_only_shortens(
        self, failures: int, first: float, backoff: float, longest: float, chance: float
    ) -> None:
        plain = RetryPolicy(retry_delay=first, backoff=backoff, max_retry_delay=longest)
        jittered = dataclasses.replace(plain, jitter=True)
        assert timedelta(0) <= plain.delay(failures) <= timedelta(seconds=plain.max_retry_delay)
        assert timedelta(0) <= jittered.delay(failures, lambda: chance) <= plain.delay(failures)

    def test_full_jitter_takes_any_part_of_it(self) -> None:
        policy = RetryPolicy(retry_delay=10, jitter=True)
        assert [policy.delay(1, lambda x=x: x).total_seconds() for x in (0.0, 0.5)] == [0, 5]  # type: ignore[misc]
        assert RetryPolicy(retry_delay=10).delay(1, lambda: 0.5).total_seconds() == 10

    def test_no_delay_stays_none_however_often(self) -> None:
        assert RetryPolicy(retry_delay=0).delay(10**6) == timedelta(0)

    def test_there_is_no_delay_before_a_failure(self) -> None:
        with pytest.raises(ValueError, match="failures is 0"):
            RetryPolicy().delay(0)


def test_three_retries_are_four_attempts() -> None:
    assert [RetryPolicy().exhausted(failures) for failures in (1, 2, 3, 4)] == [False, False, False, True]
    assert RetryPolicy(max_retries=0).exhausted(1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_retries": -1}, ValueError, "max_retries cannot be negative"),
        ({"max_retries": 1.5}, TypeError, "max_retries"),
        ({"max_retries": True}, TypeError, "max_retries"),
        ({"max_retries": None}, TypeError, "max_retries"),
        ({"retry_delay": -1}, ValueError, "retry_delay"),
        ({"retry_delay": float("nan")}, ValueError, "retry_delay"),
        ({"retry_delay": None}, TypeError, "retry_delay"),
        ({"max_retry_delay": "soon"}, ValueError, "max_retry_delay"),
        ({"backoff": 0.5}, ValueError, "backoff"),
        ({"backoff": float("nan")}, ValueError, "backoff"),
        ({"backoff": float("inf")}, ValueError, "backoff"),
        ({"backoff": 10**400}, ValueError, "backoff"),
        ({"backoff": "2"}, TypeError, "backoff"),
        ({"jitter": 0.5}, TypeError, "jitter"),
    ],
)
def test_a_wrong_option_is_named_when_the_step_is_defined(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        RetryPolicy(**options)
