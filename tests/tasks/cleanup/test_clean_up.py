"""The cleanup of a bucket: what goes, what never goes, and its races with retries."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from types import SimpleNamespace
from typing import Any, cast, get_args
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType

from pro_video.core.clock import SYSTEM_CLOCK, Clock, VirtualClock
from pro_video.core.errors import StorageRefused
from pro_video.core.job_names import BUCKET_LABEL, FileKind, JobKeys, attempt_label
from pro_video.core.settings import get_settings
from pro_video.core.stopping import Stopped, StopReason, StopSignal, use_stop
from pro_video.records import Cleaned
from pro_video.s3.listing import Listed
from pro_video.s3.storage import Storage
from tasks.cleanup.plan import Wish
from tasks.cleanup.remove import clean_up
from tasks.cleanup.summary import Summary

NOW = datetime(2026, 11, 28, tzinfo=UTC)
KINDS: tuple[FileKind, ...] = get_args(FileKind)
IDS = [str(uuid.UUID(int=number, version=4)) for number in range(1, 5)]
PLACE = "s3://bucket"


class Bucket(Storage):
    """A bucket in memory."""

    def __init__(self, *keys: str) -> None:
        self.keys = set(keys)
        self.bucket = "bucket"

    @property
    def place(self) -> str:
        return PLACE

    def listed(self, prefix: str) -> Iterator[Listed]:
        for key in sorted(key for key in self.keys if key.startswith(prefix)):
            yield Listed(key, 10, NOW - timedelta(days=60))

    async def get_bytes(self, key: str, limit: int = 0) -> bytes | None:
        return b"{}" if key in self.keys else None

    async def delete_many(self, keys: Sequence[str]) -> None:
        self.keys -= set(keys)


class Prefect:
    """The runs of a Prefect server, with what the cleanup asks of them."""

    def __init__(self, *runs: FlowRun) -> None:
        self.runs = {run.id: run for run in runs}
        self.retried: UUID | None = None

    async def read_flow_runs(self, flow_run_filter: Any, **_: Any) -> list[FlowRun]:
        wanted = flow_run_filter.id.any_ if flow_run_filter.id else ()
        return [self.runs[each].model_copy() for each in wanted if each in self.runs]

    async def read_flow_run_states(self, run_id: UUID) -> list[Any]:
        return [SimpleNamespace(data=SimpleNamespace(storage_key=result_of(str(run_id))))]

    async def update_flow_run_labels(self, run_id: UUID, labels: dict[str, Any]) -> None:
        run = self.runs[run_id]
        run.labels = {**run.labels, **labels}
        if self.retried == run_id:
            run.state_id = uuid.uuid4()


def result_of(job_id: str) -> str:
    """Prefect's name of the result of a job's run."""
    return UUID(job_id).hex


def run_of(job_id: str, type_: StateType, days: float, **labels: str) -> FlowRun:
    """A job's run that came into its state some days ago."""
    state: State[Any] = State(type=type_, timestamp=NOW - timedelta(days=days))
    return FlowRun(
        id=UUID(job_id), flow_id=uuid.uuid4(), state=state, state_id=state.id, labels=dict(labels)
    )


def written_by(job_id: str) -> list[str]:
    """Objects of a job with both stages."""
    keys = JobKeys(job_id)
    return [
        keys.video("mp4"),
        keys.audio(1, "mp3"),
        keys.sent_audio(1),
        keys.lip_sync_result,
        keys.final_result,
        keys.preview,
        keys.report,
        keys.record("uploaded"),
        keys.record("lip-sync-1-request-sent"),
        keys.record("lip-sync-1-stored"),
        f"results/{result_of(job_id)}",
    ]


def clean(
    bucket: Bucket,
    prefect: Prefect,
    kinds: Sequence[FileKind] = KINDS,
    *,
    age: float = 2,
    dry_run: bool = False,
    clock: Clock = SYSTEM_CLOCK,
) -> Summary:
    summary = Summary(dry_run)
    wish = Wish(timedelta(days=age), kinds, dry_run=dry_run)
    client = cast(PrefectClient, prefect)
    asyncio.run(clean_up(client, bucket, wish, summary, now=NOW, clock=clock))
    return summary


def test_a_completed_job_keeps_its_results_unless_they_are_asked_for() -> None:
    job_id = IDS[0]
    bucket = Bucket(*written_by(job_id))
    prefect = Prefect(run_of(job_id, StateType.COMPLETED, 3))
    before = set(bucket.keys)
    dry = clean(bucket, prefect, ["intermediates", "records", "sources"], dry_run=True)
    assert bucket.keys == before
    assert Cleaned.of(prefect.runs[UUID(job_id)].labels) is None
    wet = clean(bucket, prefect, ["intermediates", "records", "sources"])
    keys = JobKeys(job_id)
    assert bucket.keys == {keys.final_result, keys.preview, keys.report}
    # The result of the run is known only to Prefect, and not in the table.
    assert wet.table() == dry.table()
    assert wet.table()[:3] == [
        {"job": "total", "kind": "intermediates", "objects": 2, "bytes": 20},
        {"job": "total", "kind": "records", "objects": 3, "bytes": 30},
        {"job": "total", "kind": "sources", "objects": 2, "bytes": 20},
    ]
    clean(bucket, prefect)
    assert bucket.keys == set()
    cleaned = Cleaned.of(prefect.runs[UUID(job_id)].labels)
    assert cleaned is not None
    assert set(cleaned.kinds) == set(KINDS)


@pytest.mark.parametrize(
    ("days", "type_", "labels", "reason"),
    [
        (1, StateType.COMPLETED, {}, "ended too recently"),
        (29, StateType.FAILED, {}, "may still be retried"),
        (29, StateType.CANCELLED, {}, "may still be retried"),
        (99, StateType.RUNNING, {}, "has not ended"),
        (99, StateType.SCHEDULED, {}, "has not ended"),
        # It is taken up again.
        (99, StateType.CRASHED, {}, "has not ended"),
        (99, StateType.FAILED, {BUCKET_LABEL: "s3://x"}, "began in another bucket"),
        (
            99,
            StateType.CANCELLED,
            {attempt_label("inpainting", 1): "17"},
            "paid work may be unfetched: retry it",
        ),
    ],
)
def test_a_job_stays_whole(
    days: float, type_: StateType, labels: dict[str, str], reason: str
) -> None:
    bucket = Bucket(*set(written_by(IDS[0])) - {JobKeys(IDS[0]).final_result})
    before = set(bucket.keys)
    run = run_of(IDS[0], type_, days, **labels)
    summary = clean(bucket, Prefect(run))
    assert bucket.keys == before
    assert summary.table() == [
        {"job": "1 jobs stay", "kind": reason, "objects": None, "bytes": None}
    ]
    assert run.labels == labels


@pytest.mark.parametrize("step", ["lip-sync", "inpainting"])
@pytest.mark.parametrize("evidence", ["record", "label"])
def test_paid_work_that_was_not_fetched_keeps_its_job(step: str, evidence: str) -> None:
    keys = JobKeys(IDS[0])
    files = {keys.video("mp4"), keys.record("uploaded")}
    labels = {attempt_label(step, 2): "17"} if evidence == "label" else {}
    if evidence == "record":
        files.add(keys.record(f"{step}-2-request-sent"))
    # Of an attempt before, whose failure the provider reported.
    files |= {keys.record(f"{step}-1-request-sent"), keys.record(f"{step}-1-reported")}
    run = run_of(IDS[0], StateType.CANCELLED, 99, **labels)
    bucket = Bucket(*files)
    clean(bucket, Prefect(run))
    assert bucket.keys == files
    for end in (f"{step}-2-reported", f"{step}-2-stored"):
        bucket = Bucket(*files, keys.record(end))
        clean(bucket, Prefect(run.model_copy()))
        assert bucket.keys == set()


def test_results_go_also_after_the_records() -> None:
    keys = JobKeys(IDS[0])
    run = run_of(IDS[0], StateType.FAILED, 99, **{attempt_label("inpainting", 1): "17"})
    reported = keys.record("inpainting-1-reported")
    bucket = Bucket(keys.lip_sync_result, keys.report, reported)
    prefect = Prefect(run)
    clean(bucket, prefect, ["records"])
    assert bucket.keys == {keys.lip_sync_result, keys.report}
    clean(bucket, prefect, ["results"])
    assert bucket.keys == set()


def test_the_result_of_a_run_goes_also_without_other_records() -> None:
    keys = JobKeys(IDS[0])
    bucket = Bucket(keys.report, f"results/{result_of(IDS[0])}")
    prefect = Prefect(run_of(IDS[0], StateType.FAILED, 99))
    clean(bucket, prefect, ["records"])
    assert bucket.keys == {keys.report}


def test_a_job_that_is_retried_meanwhile_keeps_what_it_needs() -> None:
    job_id, other = IDS[:2]
    bucket = Bucket(*written_by(job_id), *written_by(other))
    prefect = Prefect(*(run_of(each, StateType.FAILED, 99) for each in (job_id, other)))
    prefect.retried = UUID(job_id)
    clean(bucket, prefect)
    assert bucket.keys == set(written_by(job_id)) - {f"results/{result_of(job_id)}"}
    assert Cleaned.of(prefect.runs[UUID(job_id)].labels) is None
    assert Cleaned.of(prefect.runs[UUID(other)].labels) is not None


def test_a_cancelled_cleanup_ends_between_two_calls() -> None:
    bucket = Bucket(*written_by(IDS[0]))
    before = set(bucket.keys)
    stop = StopSignal()
    stop.set(StopReason.CANCELLED)
    with use_stop(stop), pytest.raises(Stopped):
        clean(bucket, Prefect(run_of(IDS[0], StateType.COMPLETED, 3)))
    assert bucket.keys == before


def test_a_cleanup_ends_at_its_limit_of_time() -> None:
    clock = VirtualClock()

    class Slow(Bucket):
        def listed(self, prefix: str) -> Iterator[Listed]:
            clock.advance(2000)
            return super().listed(prefix)

    bucket = Slow(*written_by(IDS[0]))
    before = set(bucket.keys)
    run = run_of(IDS[0], StateType.COMPLETED, 3)
    summary = clean(bucket, Prefect(run), clock=clock)
    assert summary.message.endswith("; the rest is left to the next cleanup")
    assert bucket.keys == before


class Unordered(Bucket):
    def listed(self, prefix: str) -> Iterator[Listed]:
        return reversed(list(super().listed(prefix)))


def test_a_server_that_lists_without_order_is_refused() -> None:
    bucket = Unordered(*written_by(IDS[0]), *written_by(IDS[1]))
    before = set(bucket.keys)
    runs = [run_of(each, StateType.COMPLETED, 3) for each in IDS[:2]]
    with pytest.raises(StorageRefused, match="without order"):
        clean(bucket, Prefect(*runs))
    assert bucket.keys == before


# Names of jobs' files, and near them, in folders of jobs, and near them.
_FOLDERS = ["jobs/", "results/", "uploads/", "Jobs/", "results/lip-sync/", "x/jobs/"]
_ENDINGS = {*(key.partition(IDS[0])[2] for key in written_by(IDS[0])), "/notes.txt", "/"}
_FOREIGN = (".bak", "\n", "/a", " 2", "-")
_OWNERS = [*IDS[:2], IDS[0].upper(), IDS[0][:-1]]
_KEYS = {
    *map("".join, product(_FOLDERS, _OWNERS, _ENDINGS, ["", *_FOREIGN])),
    *(f"results/{name}" for name in [*map(result_of, IDS), "0" * 32]),
}
runs = st.builds(
    run_of,
    st.sampled_from(IDS[:2]),
    st.sampled_from([*StateType, *[StateType.COMPLETED, StateType.FAILED] * 4]),
    st.sampled_from([0.0, 1.9, 29.0, 31.0, 99.0]),
)


@settings(max_examples=60)
@given(
    st.lists(runs, min_size=1, max_size=2, unique_by=lambda run: run.id),
    st.sets(st.sampled_from(KINDS), min_size=2),
    st.sampled_from([2.0, 30.0, 60.0]),
)
def test_nothing_goes_but_old_files_of_ended_jobs(
    runs: list[FlowRun], kinds: set[FileKind], age: float
) -> None:
    bucket = Bucket(*_KEYS)
    clean(bucket, Prefect(*runs), sorted(kinds), age=age)
    for key in _KEYS - bucket.keys:
        owner = next(
            run
            for run in runs
            if re.fullmatch(rf"(jobs|results)/{run.id}/.+|results/{run.id.hex}", key, re.DOTALL)
        )
        assert owner.state is not None
        days = (NOW - owner.state.timestamp) / timedelta(days=1)
        retry = 0.0 if owner.state.is_completed() else get_settings().retry_days
        assert owner.state.type in (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED)
        assert days >= max(age, retry)
        if key.startswith("jobs/"):
            assert not key.endswith(("notes.txt", *_FOREIGN))
            assert "results" in kinds or not key.endswith(
                (JobKeys(str(owner.id)).final_result, "preview.jpg", "job.json")
            )
        else:
            assert "records" in kinds
