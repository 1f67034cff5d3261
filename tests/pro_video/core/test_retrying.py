from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pro_video.core.clock import VirtualClock
from pro_video.core.retrying import (
    LONGEST_HINT,
    Backoff,
    clamp_hint,
    keep_running,
    parse_retry_after,
)

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("-3", 0.0),
        ("86400", LONGEST_HINT),
        ("inf", LONGEST_HINT),
        ("nan", None),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 30.0),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0.0),
        ("Fri, 01 Jan 2027 00:00:00 GMT", LONGEST_HINT),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@given(st.text())
def test_any_header_gives_a_bounded_pause_or_none(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW, limit=60)
    assert seconds is None or 0 <= seconds <= 60


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(5, 5.0), (2.5, 2.5), ("9", 9.0), (True, None), ([], None), (None, None), (10**400, None)],
)
def test_numbers_of_a_body(value: object, seconds: float | None) -> None:
    assert clamp_hint(value) == seconds


def test_pauses_grow_to_their_bound() -> None:
    backoff = Backoff(first=1, factor=2, longest=16, jitter=0)
    assert [backoff.pause(n) for n in (1, 2, 3, 4, 5, 6)] == [1, 2, 4, 8, 16, 16]
    assert backoff.pause(100_000) == 16


def test_jitter_spreads_within_its_share_and_the_bound() -> None:
    backoff = Backoff(first=4, longest=10, jitter=0.5)
    assert backoff.pause(1, rng=lambda: 0.0) == 2
    assert backoff.pause(1, rng=lambda: 1.0) == 6
    assert backoff.pause(3, rng=lambda: 1.0) == 10
    assert len({backoff.pause(1) for _ in range(50)}) > 40


def test_a_hint_replaces_our_pace_within_reason() -> None:
    backoff = Backoff(first=1, longest=2)
    assert backoff.pause(1, 30.0) == 30
    assert backoff.pause(1, 1e9) == LONGEST_HINT
    assert backoff.pause(1, -5) == 0


@pytest.mark.parametrize(
    "fields", [{"first": -1}, {"factor": 0.5}, {"jitter": 2}, {"tries": 0}, {"longest": -1}]
)
def test_senseless_backoffs_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Backoff(**fields)  # type: ignore[arg-type]


async def test_work_that_has_to_go_on_outlives_errors_that_nobody_expected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = VirtualClock()
    lives = iter([0.0, 0.0, 1000.0, 0.0])
    reached = asyncio.Event()

    async def watch() -> None:
        life = next(lives, None)
        if life is None:
            reached.set()
            await asyncio.Event().wait()
        else:
            await clock.sleep(life)
            raise KeyError("nobody expected this")

    task = asyncio.create_task(keep_running("The watch", watch, clock=clock))
    await asyncio.wait_for(reached.wait(), 10)
    pauses = clock.slept[1::2]
    assert pauses == [pytest.approx(each, rel=0.3) for each in (1, 2, 1, 2)]
    assert caplog.text.count("The watch met an unexpected error") == 4
    assert caplog.text.count("KeyError: 'nobody expected this'") == 4
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
