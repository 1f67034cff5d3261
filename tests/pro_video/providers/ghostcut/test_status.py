"""Every status and code that the vendor documents has a meaning; the lists are made by hand."""

from __future__ import annotations

import pytest

from pro_video.core.errors import (
    AccountBlocked,
    CredentialsRefused,
    JobFailed,
    JobFailedRetryable,
    OutcomeUnknown,
    ProVideoError,
    ProviderRefused,
    RateLimited,
    ResultLocked,
    ServiceUnavailable,
)
from pro_video.providers.ghostcut.models import Work
from pro_video.providers.ghostcut.status import (
    CODES,
    FAILURES,
    RUNNING,
    ConfirmingObserver,
    error_for,
    is_known,
    meaning_of,
    observe,
    status_of,
)
from pro_video.providers.job_status import JobStatus

IN_PROGRESS = [-3, -2, -1, 0]

# The vendor's advice to each failure.
FIX_INPUT = [2, 3, 5, 14, 16, 24, 26, 27, 28, 29, 30, 31, 32, 99, 100]
CONTACT = [6, 7, 13, 20, 21, 22]
RETRY_THEN_CONTACT = [18, 23, 43, 111]
TOP_UP = [73, 98]
LOCKED = [83]
NOT_EXPECTED = [1000]

ERRORS: dict[int, type[ProVideoError]] = {
    **dict.fromkeys(FIX_INPUT, JobFailed),
    **dict.fromkeys(CONTACT, JobFailed),
    **dict.fromkeys(RETRY_THEN_CONTACT, JobFailedRetryable),
    **dict.fromkeys(TOP_UP, AccountBlocked),
    **dict.fromkeys(LOCKED, ResultLocked),
    **dict.fromkeys(NOT_EXPECTED, JobFailed),
}

# Envelope code -> (error of a read, error of a submit).
ENVELOPE: dict[int, tuple[type[ProVideoError], type[ProVideoError]]] = {
    **dict.fromkeys((2001, 2003, 2004), (CredentialsRefused, CredentialsRefused)),
    **dict.fromkeys(
        (2002, 3003, 3007, 3008, 4001, 4002, 4003, 4004), (ProviderRefused, ProviderRefused)
    ),
    3006: (RateLimited, RateLimited),
    **dict.fromkeys((3001, 3002, 9999, 500), (ServiceUnavailable, OutcomeUnknown)),
}


def test_every_documented_status_is_named() -> None:
    assert set(RUNNING) == set(IN_PROGRESS)
    assert set(FAILURES) == set(ERRORS)
    assert all(is_known(status) for status in [*IN_PROGRESS, 1, *ERRORS])
    assert all(text for _, text in FAILURES.values())


@pytest.mark.parametrize("status", [*IN_PROGRESS, None, -4, -1000])
def test_below_one_is_running(status: int | None) -> None:
    assert status_of(status) is JobStatus.RUNNING
    # The vendor's failed rows show 100 %, so progress decides nothing.
    look = observe(Work(id="1", status=status, progress=1.0))
    assert (look.done, look.progress) == (False, 1.0)


def test_one_is_success() -> None:
    assert status_of(1) is JobStatus.DONE
    look = observe(Work(id="1", status=1, progress=0.3))
    assert (look.done, look.progress) == (True, 1.0)


@pytest.mark.parametrize(("status", "kind"), ERRORS.items())
def test_above_one_is_failed(status: int, kind: type[ProVideoError]) -> None:
    assert status_of(status) is JobStatus.FAILED
    with pytest.raises(ProVideoError) as caught:
        observe(Work(id="7", status=status, progress=1.0))
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.request_id) == (str(status), "7")


@pytest.mark.parametrize("status", [4, 12, 101, 999, 1001])
def test_unlisted_values_follow_the_same_rule(status: int) -> None:
    assert status_of(status) is JobStatus.FAILED
    assert not is_known(status)
    error = error_for(Work(id="7", status=status, description="a new trouble"))
    assert type(error) is JobFailed
    assert str(error) == f"undocumented status {status}: a new trouble"


def test_the_reason_is_the_vendors_without_links() -> None:
    work = Work(id="7", status=26, error_detail="bad mask for https://h/v.mp4?sig=c4n4ry")
    assert str(error_for(work)).endswith(": bad mask for https://h/v.mp4?***")
    assert str(error_for(Work(id="7", status=20))) == "the erasing failed"


def test_every_documented_code_has_a_meaning() -> None:
    assert {c: (m.of_read, m.of_submit) for c, m in CODES.items()} == ENVELOPE


@pytest.mark.parametrize(
    ("code", "kind"),
    [(2005, ProviderRefused), (4999, ProviderRefused), (3999, OutcomeUnknown), (0, OutcomeUnknown)],
)
def test_unlisted_codes_of_a_submit(code: int, kind: type[ProVideoError]) -> None:
    assert meaning_of(code).of_submit is kind


def test_no_code_says_nothing() -> None:
    assert meaning_of(None).of_submit is OutcomeUnknown


def test_an_unlisted_failure_needs_a_second_look() -> None:
    look = ConfirmingObserver()
    assert look(Work(id="7", status=404, progress=0.5)).done is False
    with pytest.raises(JobFailed, match="undocumented status 404"):
        look(Work(id="7", status=404))


def test_an_unlisted_value_between_two_listed_ones_is_forgotten() -> None:
    look = ConfirmingObserver()
    for _ in range(3):
        assert look(Work(id="7", status=404)).done is False
        assert look(Work(id="7", status=0)).done is False
    assert look(Work(id="7", status=404)).done is False
    assert look(Work(id="7", status=1)).done is True


@pytest.mark.parametrize(("status", "kind"), ERRORS.items())
def test_a_listed_failure_needs_no_second_look(status: int, kind: type[ProVideoError]) -> None:
    with pytest.raises(kind):
        ConfirmingObserver()(Work(id="7", status=status))
