"""A paid request is sent at most once, also when the response is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import pytest

from pro_video.clock import VirtualClock
from pro_video.errors import (
    AccountBlocked,
    CredentialsRefused,
    DeadlineExceeded,
    OutcomeUnknown,
    ProVideoError,
    ProviderRefused,
    SlotUnavailable,
    StorageRefused,
)
from pro_video.records import Prepared, Submission
from pro_video.stopping import Stopped, StopReason, StopSignal, use_stop
from pro_video.storage import Storage
from tasks.job import Job
from tasks.ledger import LIP_SYNC
from tasks.preparing import keep_request
from tasks.submitting import Sender, submit_once

ACCEPTED = "accepted"


@dataclass
class Provider:
    """A provider that answers each send as it is told to.

    Attributes:
        answers: what each send meets: ``accepted``, or the error that it raises.
        listed_at: seconds of virtual time from which on the search finds the job.
    """

    job: Job
    answers: Sequence[str | Exception] = (ACCEPTED,)
    listed_at: float | None = None
    bodies: list[bytes] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    looks: list[float] = field(default_factory=list)

    def submission(self, *, adopted: bool = False) -> Submission:
        return Submission(provider_job_id="p-1", submitted_at=self.job.now(), adopted=adopted)

    async def send(self, body: bytes) -> Submission:
        answer = self.answers[min(len(self.bodies), len(self.answers) - 1)]
        self.bodies.append(body)
        if isinstance(answer, Exception):
            raise answer
        return self.submission()

    async def find(self, since: datetime) -> Submission | None:
        self.looks.append(self.job.clock.monotonic())
        listed = self.listed_at is not None and self.looks[-1] >= self.listed_at
        return self.submission(adopted=True) if listed else None

    async def adopt(self, job_id: str) -> Submission:
        self.adopted.append(job_id)
        return self.submission(adopted=True)

    def sender(self, search_seconds: float = 60) -> Sender:
        return Sender(LIP_SYNC, self.send, self.find, self.adopt, search_seconds)


def lost(**context: str) -> OutcomeUnknown:
    return OutcomeUnknown("The answer was lost.", **context)


async def test_the_kept_bytes_are_sent_once(job: Job, storage: Storage, prepared: Prepared) -> None:
    provider = Provider(job)
    found = await submit_once(job, storage, prepared, provider.sender())
    assert (found.provider_job_id, found.adopted) == ("p-1", False)
    assert provider.bodies == [b'{"exact": "bytes"}']
    assert provider.looks == []


async def test_whoever_comes_second_keeps_the_first_ones_bytes(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    await keep_request(
        job,
        storage,
        step=LIP_SYNC,
        attempt=1,
        body=b"other links",
        expected_seconds=60,
        cost_usd=None,
    )
    provider = Provider(job)
    await submit_once(job, storage, prepared, provider.sender())
    assert provider.bodies == [b'{"exact": "bytes"}']


async def test_a_second_run_finds_the_job_and_sends_nothing(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Provider(job, listed_at=0)
    await submit_once(job, storage, prepared, provider.sender())
    found = await submit_once(job, storage, prepared, provider.sender())
    assert found.adopted
    assert len(provider.bodies) == 1


async def test_a_second_run_waits_for_a_listing_that_lags(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Provider(job, listed_at=45)
    await submit_once(job, storage, prepared, provider.sender(60))
    found = await submit_once(job, storage, prepared, provider.sender(60))
    assert found.adopted
    assert len(provider.bodies) == 1
    assert 45 <= provider.looks[-1] <= 60


async def test_a_lost_answer_is_looked_for_before_a_resend(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Provider(job, [lost(), ACCEPTED], listed_at=10)
    found = await submit_once(job, storage, prepared, provider.sender(60))
    assert found.adopted
    assert len(provider.bodies) == 1


async def test_a_send_that_did_not_arrive_is_repeated_byte_for_byte(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Provider(job, [lost(), ACCEPTED])
    found = await submit_once(job, storage, prepared, provider.sender(60))
    assert not found.adopted
    assert provider.bodies == [b'{"exact": "bytes"}'] * 2
    # The search covers the whole time that a listing may lag.
    assert provider.looks[-1] - provider.looks[0] >= 60


async def test_a_job_that_the_provider_names_is_read_not_sent_again(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Provider(job, [lost(job_id="p-9")])
    await submit_once(job, storage, prepared, provider.sender())
    assert provider.adopted == ["p-9"]
    assert (len(provider.bodies), provider.looks) == (1, [])


async def test_answers_that_stay_lost_end_as_unknown(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Provider(job, [lost()])
    with pytest.raises(OutcomeUnknown):
        await submit_once(job, storage, prepared, provider.sender(0))
    assert len(provider.bodies) == 3


@pytest.mark.parametrize(
    "error",
    [
        CredentialsRefused("HTTP 401", provider="sync.so"),
        AccountBlocked("Pay.", provider="sync.so", code="ACCOUNT_PAYMENT_REQUIRED"),
    ],
)
async def test_a_refused_account_is_waited_out(
    job: Job, storage: Storage, prepared: Prepared, error: ProVideoError
) -> None:
    provider = Provider(job, [error] * 5 + [ACCEPTED])
    found = await submit_once(job, storage, prepared, provider.sender())
    assert found.refusal is None
    assert len(provider.bodies) == 6
    assert job.clock.monotonic() >= 90
    (reason, end) = cast("Any", job.reporter).reasons
    assert reason.endswith("The job goes on by itself.")
    assert end is None


async def test_a_plan_without_room_for_the_job_is_an_answer(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    error = AccountBlocked(
        "Too long.", provider="sync.so", code="generation_plan_duration_exceeded"
    )
    provider = Provider(job, [error])
    found = await submit_once(job, storage, prepared, provider.sender())
    assert found.refusal is not None
    assert len(provider.bodies) == 1


async def test_a_key_that_nobody_corrects_is_an_answer_in_the_end(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Provider(job, [CredentialsRefused("HTTP 401", provider="sync.so")])
    found = await submit_once(job, storage, prepared, provider.sender())
    assert found.refusal is not None
    assert found.refusal.kind == "CredentialsRefused"
    assert job.clock.monotonic() >= 6 * 3600


async def test_a_refusal_of_the_first_send_is_an_answer(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Provider(job, [ProviderRefused("No.", code="no")])
    found = await submit_once(job, storage, prepared, provider.sender())
    assert found.provider_job_id is None
    assert found.refusal is not None
    assert type(found.refusal.error()) is ProviderRefused
    assert found.refusal.code == "no"


async def test_a_refusal_after_a_lost_answer_says_nothing_about_the_first_send(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Provider(job, [lost(), ProviderRefused("No.")])
    with pytest.raises(ProviderRefused):
        await submit_once(job, storage, prepared, provider.sender(0))


async def test_a_lack_of_slots_is_waited_out(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    full = SlotUnavailable("Full.", retry_after=90)
    provider = Provider(job, [full, full, full, ACCEPTED])
    await submit_once(job, storage, prepared, provider.sender())
    assert len(provider.bodies) == 4
    assert job.clock.monotonic() >= 270


async def test_the_wait_for_a_slot_has_an_end(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    provider = Provider(job, [SlotUnavailable("Full.", retry_after=300)])
    with pytest.raises(DeadlineExceeded, match="nothing was created"):
        await submit_once(job, storage, prepared, provider.sender())
    assert job.clock.monotonic() >= 6 * 3600


async def test_a_job_whose_request_is_gone_is_refused(
    job: Job, storage: Storage, prepared: Prepared
) -> None:
    await storage.delete(prepared.body_key)
    provider = Provider(job)
    with pytest.raises(StorageRefused, match="start a new job"):
        await submit_once(job, storage, prepared, provider.sender())
    assert provider.bodies == []


async def test_a_cancelled_job_is_not_sent(job: Job, storage: Storage, prepared: Prepared) -> None:
    provider = Provider(job)
    stop = StopSignal()
    stop.set(StopReason.CANCELLED)
    with use_stop(stop), pytest.raises(Stopped):
        await submit_once(job, storage, prepared, provider.sender())
    assert provider.bodies == []
    assert isinstance(job.clock, VirtualClock)
