"""The meaning of GhostCut's ``processStatus`` and envelope codes for a job.

Source: the vendor's API guide, chapters 11, 14 and 15 (https://github.com/zhaoli-ai/GhostCut-ai).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

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
from pro_video.core.redaction import redact
from pro_video.core.waiting import Observation
from pro_video.providers.ghostcut.models import PROVIDER, Work
from pro_video.providers.job_status import JobStatus

SUCCESS: Final = 1

RUNNING: Final[Mapping[int, str]] = MappingProxyType(
    {
        -3: "draft ready, waiting for synthesis",
        -2: "material in preparation",
        -1: "waiting to be processed",
        0: "processing",
    }
)

_FIX_INPUT = JobFailed
_CONTACT_VENDOR = JobFailed
_RETRY = JobFailedRetryable
_TOP_UP = AccountBlocked

FAILURES: Final[Mapping[int, tuple[type[ProVideoError], str]]] = MappingProxyType(
    {
        2: (_FIX_INPUT, "the link of the video could not be resolved"),
        3: (_FIX_INPUT, "the video could not be downloaded or is damaged"),
        5: (_FIX_INPUT, "the video is longer than 15 minutes"),
        6: (_CONTACT_VENDOR, "the voice translation could not be called"),
        7: (_CONTACT_VENDOR, "the voice translation failed"),
        13: (_CONTACT_VENDOR, "the music could not be processed"),
        14: (_FIX_INPUT, "the stored material is missing"),
        16: (_FIX_INPUT, "the video may be corrupt; its last 0.2 s cannot be read"),
        18: (_RETRY, "the processing of the video timed out"),
        20: (_CONTACT_VENDOR, "the erasing failed"),
        21: (_CONTACT_VENDOR, "the speech could not be separated"),
        22: (_CONTACT_VENDOR, "the remote task could not be sent"),
        23: (_RETRY, "the remote processing timed out"),
        24: (_FIX_INPUT, "the cloned voice is missing"),
        26: (_FIX_INPUT, "the request did not pass the validation"),
        27: (_FIX_INPUT, "the subtitle is longer than the video"),
        28: (_FIX_INPUT, "the subtitles break the content policy"),
        29: (_FIX_INPUT, "some roles have no voice"),
        30: (_FIX_INPUT, "a sentence is shorter than 0.1 s"),
        31: (_FIX_INPUT, "the synthetic speech is corrupt"),
        32: (_FIX_INPUT, "there is neither sound nor subtitle"),
        43: (_RETRY, "unknown error"),
        73: (_TOP_UP, "not enough points, the work was not started; top up and retry"),
        83: (ResultLocked, "not enough points, the finished work is locked; top up to unlock it"),
        98: (_TOP_UP, "the account's storage is full; delete old material and retry"),
        99: (_FIX_INPUT, "the video is longer than the limit"),
        100: (_FIX_INPUT, "the video is larger than the limit of 1000 MB"),
        111: (_RETRY, "the processing timed out"),
        # The enum's entry "success", which rows do not carry; the guide says to rely on 1 alone.
        1000: (_CONTACT_VENDOR, "an end that the vendor's guide does not define for a work"),
    }
)


class Meaning(Enum):
    """The error that an envelope's code stands for, by the kind of call."""

    of_read: type[ProVideoError]
    """The error of a read that was answered with the code."""
    of_submit: type[ProVideoError]
    """The error of a submit that was answered with the code."""

    def __init__(self, of_read: type[ProVideoError], of_submit: type[ProVideoError]) -> None:
        self.of_read = of_read
        self.of_submit = of_submit

    KEY = (CredentialsRefused, CredentialsRefused)
    WRONG_REQUEST = (ProviderRefused, ProviderRefused)
    TOO_FAST = (RateLimited, RateLimited)
    VENDOR_TROUBLE = (ServiceUnavailable, OutcomeUnknown)
    """The vendor failed somewhere on the way; a submit may have been accepted."""


ACCEPTED: Final = 1000

CODES: Final[Mapping[int, Meaning]] = MappingProxyType(
    {
        **dict.fromkeys((2001, 2003, 2004), Meaning.KEY),
        **dict.fromkeys((2002, 3003, 3007, 3008, 4001, 4002, 4003, 4004), Meaning.WRONG_REQUEST),
        3006: Meaning.TOO_FAST,
        # 500 is a validation error of the series endpoints, which are not called here.
        **dict.fromkeys((3001, 3002, 9999, 500), Meaning.VENDOR_TROUBLE),
    }
)


def status_of(status: int | None) -> JobStatus:
    """The vendor's rule for every value, listed or not: below 1 runs, 1 is success, above failed.

    A missing status counts as running; the wait's deadline ends it.
    """
    if status is None or status < SUCCESS:
        return JobStatus.RUNNING
    return JobStatus.DONE if status == SUCCESS else JobStatus.FAILED


def is_known(status: int | None) -> bool:
    """Is it one of the documented values?"""
    return status == SUCCESS or status in RUNNING or status in FAILURES


def meaning_of(code: int | None) -> Meaning:
    """The meaning of an envelope's code other than 1000.

    An unlisted code of the families 2xxx (call) and 4xxx (business rule) refuses the request. After
    any other one the outcome of a submit is unknown.
    """
    if code is None:
        return Meaning.VENDOR_TROUBLE
    if code in CODES:
        return CODES[code]
    if 2000 <= code < 3000 or 4000 <= code < 5000:
        return Meaning.WRONG_REQUEST
    return Meaning.VENDOR_TROUBLE


def error_for(work: Work) -> ProVideoError:
    """The error of a work that ended badly, with the vendor's reason when it gave one.

    An unlisted value above 1 is a failure without a further attempt.
    """
    kind, ours = FAILURES.get(work.status or 0, (JobFailed, f"undocumented status {work.status}"))
    detail = redact(work.error_detail or "")
    if work.status not in FAILURES and not detail:
        detail = redact(work.description or "")
    return kind(
        f"{ours}: {detail}" if detail else ours,
        provider=PROVIDER,
        code=str(work.status),
        request_id=work.id,
    )


def observe(work: Work) -> Observation[Work]:
    """The work as one observation of a wait.

    Raises:
        ProVideoError: it ended badly; see :func:`error_for`.
    """
    status = status_of(work.status)
    if status is JobStatus.FAILED:
        raise error_for(work)
    done = status is JobStatus.DONE
    return Observation(done=done, value=work, progress=1.0 if done else work.progress)


class ConfirmingObserver:
    """`observe` for one wait: an undocumented failure counts when two reads in a row show it.

    The vendor's rule makes every value above 1 a failure. A single read is enough for a listed one.
    An unlisted one may be a new state of a running work, or an error of one response, and ending
    a paid work by mistake is worse than a later end.
    """

    def __init__(self) -> None:
        self._doubted = False

    def __call__(self, work: Work) -> Observation[Work]:
        """The work as one observation.

        Raises:
            ProVideoError: it ended badly; see :func:`error_for`.
        """
        doubted, self._doubted = self._doubted, False
        failed = status_of(work.status) is JobStatus.FAILED
        if failed and not is_known(work.status) and not doubted:
            self._doubted = True
            return Observation(done=False, value=work, progress=work.progress)
        return observe(work)
