"""The verdicts, options and decisions with which a job goes on with a result that was paid for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from pro_video.core.errors import OutputHeld, OutputRejected, ProviderRefused, ServiceUnavailable
from pro_video.core.job_names import copied
from pro_video.core.job_warning import JobWarning
from pro_video.judging.verdict import Judgement, OnDoubt, Verdict
from pro_video.media.info import MediaInfo
from pro_video.records import (
    Acceptance,
    Findings,
    StageResult,
    StoredFile,
    StoredResult,
    Verified,
)
from pro_video.s3.storage import Storage
from tasks.attempts.provider import Provider
from tasks.attempts.step import PaidStep
from tasks.inpainting import GhostCut
from tasks.lip_sync import SyncSo
from tasks.run.closed_attempts import AttemptFailed, close_attempt
from tasks.run.job import Job
from tasks.run.job_state import INPAINTING, LIP_SYNC
from tasks.use_result import use_result
from tests.tasks.conftest import NotedProgress

GOOD, DOUBTFUL, UNUSABLE = Verdict.GOOD, Verdict.DOUBTFUL, Verdict.UNUSABLE
DECISION = Acceptance(by="anna", at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))


@pytest.fixture(autouse=True)
def no_run() -> Iterator[None]:
    """There is no flow run whose log could be written."""
    with disable_run_logger():
        yield


def warning(verdict: Verdict, stage: str = LIP_SYNC) -> JobWarning:
    return JobWarning(code=f"it_is_{verdict}", message=f"it is {verdict}.", stage=stage)


class Bought(PaidStep):
    """A result whose copies are judged as listed; an error stands for a copy that cannot be had."""

    def __init__(
        self,
        job: Job,
        bucket: Storage,
        copies: Sequence[Verdict | Exception],
        provider: type[Provider[Any]] = SyncSo,
    ) -> None:
        self.job = job
        self.bucket = bucket
        self.copies = copies
        self.provider = provider
        self.fetched: list[int] = []

    async def storage(self) -> Storage:
        return self.bucket

    async def judge(self, stage: StageResult, copy: int) -> Verified:
        verdict = self.copies[copy - 1]
        assert isinstance(verdict, Verdict)
        assert stage.stored.etag == f"copy-{copy}"
        warnings = () if verdict is GOOD else (warning(verdict, self.name),)
        return Verified(judgement=Judgement(verdict=verdict, warnings=warnings))

    async def fetch_again(self, stage: StageResult, copy: int) -> StoredResult:
        self.fetched.append(copy)
        found = self.copies[copy - 1]
        if isinstance(found, Exception):
            raise found
        return StoredResult(file=stored(copy), stored_at=self.job.now())

    async def use(
        self,
        on_doubt: OnDoubt = "deliver",
        decision: Acceptance | None = None,
        of: str = "result.mp4",
    ) -> StageResult:
        async def decided(job: Job, key: str) -> Acceptance | None:
            return decision if key == of else None

        stage, _ = await use_result(self.job, self, bought(self.job), on_doubt, decision=decided)
        assert self.job.state.stages[self.name] == stage
        assert self.job.state.rejected_key is None
        return stage

    async def stopped(self, on_doubt: OnDoubt = "deliver") -> AttemptFailed:
        """The failure of the run, which is closed and retried by a person."""
        with pytest.raises(AttemptFailed) as raised:
            await self.use(on_doubt)
        await close_attempt(self.job, self.bucket, LIP_SYNC, 1, raised.value.copy)
        assert self.job.state.rejected_key == stored(raised.value.copy).key
        return raised.value

    def retry(self) -> None:
        """A person's retry, in another process."""
        retries = self.job.state.retries + 1
        state = replace(self.job.state, retries=retries, rejected_key=None, warnings={})
        self.job = replace(self.job, state=state)


def stored(copy: int) -> StoredFile:
    return StoredFile(key=copied("result.mp4", copy), size=1, etag=f"copy-{copy}")


def bought(job: Job, **more: object) -> StageResult:
    now = job.now()
    return StageResult(
        attempt=1,
        reference="pv",
        provider_job_id="p-1",
        stored=stored(1),
        submitted_at=now,
        finished_at=now,
        stored_at=now,
    ).model_copy(update=more)


@pytest.mark.parametrize("on_doubt", ["deliver", "hold"])
async def test_a_good_result_is_used(job: Job, storage: Storage, on_doubt: OnDoubt) -> None:
    result = Bought(job, storage, [GOOD])
    assert (await result.use(on_doubt)).stored == stored(1)
    assert job.state.all_warnings() == ()


async def test_a_doubtful_result_is_used_with_its_warnings(job: Job, storage: Storage) -> None:
    assert (await Bought(job, storage, [DOUBTFUL]).use()).stored == stored(1)
    assert job.state.all_warnings() == (warning(DOUBTFUL),)
    assert isinstance(job.reporter, NotedProgress)
    told = Findings.model_validate_json(job.reporter.shown["findings"])
    assert told.warnings == (warning(DOUBTFUL),)


async def test_a_doubtful_result_is_held_until_a_person_retries(job: Job, storage: Storage) -> None:
    result = Bought(job, storage, [DOUBTFUL])
    failed = await result.stopped("hold")
    assert isinstance(failed.error, OutputHeld)
    assert failed.error.message == (
        "the lip-sync result is doubtful. It is doubtful. Look at it: result.mp4. Retry this run "
        "to use it as it is; nothing is bought again. Start a new job to buy another."
    )
    # The process may die after the closing and come back by itself, however often.
    for _ in range(2):
        await result.stopped("hold")
    result.retry()
    assert (await result.use("hold")).stored == stored(1)
    assert result.job.state.all_warnings() == (warning(DOUBTFUL),)
    assert result.fetched == []


async def test_an_unusable_result_is_fetched_once_for_each_retry(
    job: Job, storage: Storage
) -> None:
    result = Bought(job, storage, [UNUSABLE, UNUSABLE, GOOD])
    for copy in (1, 2):
        failed = await result.stopped()
        assert isinstance(failed.error, OutputRejected)
        assert (failed.copy, failed.error.code) == (copy, "it_is_unusable")
        assert failed.error.message == (
            "the lip-sync result is unusable. It is unusable. "
            f"It is kept: {stored(copy).key}. Retry this run to fetch it from Sync.so once more "
            "and judge it again; nothing is bought. "
            f"To use it as it is: POST /api/v1/jobs/{job.job_id}/accept. "
            "Start a new job to buy another."
        )
        await result.stopped()
        result.retry()
    assert (await result.use()).stored == stored(3)
    # Those before have records, so that the real steps fetch each once.
    assert sorted(set(result.fetched)) == [2, 3]
    assert result.job.state.all_warnings() == ()


async def test_a_copy_that_is_better_may_still_be_held(job: Job, storage: Storage) -> None:
    result = Bought(job, storage, [UNUSABLE, DOUBTFUL])
    await result.stopped("hold")
    result.retry()
    assert isinstance((await result.stopped("hold")).error, OutputHeld)
    result.retry()
    assert (await result.use("hold")).stored == stored(2)


@pytest.mark.parametrize(
    "trouble",
    [ProviderRefused("Gone.", code="404", provider="sync.so"), ServiceUnavailable("Away.")],
)
async def test_what_cannot_be_fetched_stays_where_it_is(
    job: Job, storage: Storage, trouble: Exception
) -> None:
    result = Bought(job, storage, [UNUSABLE, trouble])
    await result.stopped()
    result.retry()
    for _ in range(2):
        with pytest.raises(OutputRejected) as raised:
            await result.use()
        assert raised.value.message.endswith(f"It could not be fetched once more: {trouble}")
        assert "It is kept: result.mp4." in raised.value.message
        assert raised.value.code == "it_is_unusable"
        assert result.job.state.rejected_key == "result.mp4"


@pytest.mark.parametrize(("verdict", "on_doubt"), [(DOUBTFUL, "hold"), (UNUSABLE, "deliver")])
async def test_a_person_may_accept_what_is_rejected(
    job: Job, storage: Storage, verdict: Verdict, on_doubt: OnDoubt
) -> None:
    result = Bought(job, storage, [verdict, GOOD])
    await result.stopped(on_doubt)
    result.retry()
    assert (await result.use(on_doubt, DECISION)).stored == stored(1)
    assert result.fetched == []
    assert result.job.state.accepted == DECISION
    *others, last = result.job.state.all_warnings()
    assert others == [warning(verdict)]
    assert (last.code, last.message) == (
        "output_accepted",
        "anna decided on 2026-01-02 at 03:04 UTC to use the lip-sync result as it is.",
    )


async def test_copies_are_bounded(job: Job, storage: Storage) -> None:
    result = Bought(job, storage, [UNUSABLE] * 10)
    for _ in range(9):
        await result.stopped()
        result.retry()
    for _ in range(2):
        failed = await result.stopped()
        assert failed.copy == 10
        assert "It was fetched 10 times. To use it as it is:" in failed.error.message
        result.retry()


async def test_what_is_accepted_is_the_copy_that_was_judged_last(
    job: Job, storage: Storage
) -> None:
    result = Bought(job, storage, [UNUSABLE, UNUSABLE, GOOD])
    for _ in range(2):
        await result.stopped()
        result.retry()
    assert (await result.use(decision=DECISION, of="result-2.mp4")).stored == stored(2)


async def test_a_good_result_needs_no_decision(job: Job, storage: Storage) -> None:
    result = Bought(job, storage, [GOOD])
    await result.use(decision=DECISION)
    assert result.job.state.accepted is None


async def test_what_is_said_of_one_stage_leaves_the_other_alone(job: Job, storage: Storage) -> None:
    await Bought(job, storage, [DOUBTFUL]).use()
    await Bought(job, storage, [DOUBTFUL], GhostCut).use()
    assert job.state.all_warnings() == (warning(DOUBTFUL), warning(DOUBTFUL, INPAINTING))


async def test_a_held_lip_sync_of_another_job_is_not_bought_by_repeating(
    job: Job, storage: Storage
) -> None:
    async def undecided(job: Job, key: str) -> None:
        return None

    result = Bought(job, storage, [DOUBTFUL])
    with pytest.raises(AttemptFailed) as raised:
        await use_result(job, result, bought(job, reused_from="other"), "hold", decision=undecided)
    assert "Start a new job with reuse_lip_sync off to buy another." in raised.value.error.message


async def test_more_warnings_than_a_label_holds_are_counted(job: Job) -> None:
    many = [JobWarning(code=f"w{n}", message="It is odd.", stage=LIP_SYNC) for n in range(100)]
    await job.warn(LIP_SYNC, [*many, *many])
    *kept, last = job.state.all_warnings()
    assert kept == many[: len(kept)]
    assert last.message == f"{100 - len(kept)} more warnings are left out."


def test_a_record_of_the_time_before_verdicts_is_of_a_good_result() -> None:
    info = MediaInfo("mp4", 2.0, 10, None, None)
    old = Verified(info=info).model_dump(mode="json", exclude={"judgement"})
    found = Verified.model_validate(old)
    assert (found.info, found.judgement.verdict) == (info, GOOD)
