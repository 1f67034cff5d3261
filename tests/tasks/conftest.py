"""A bucket on the sandbox's S3 server, a receiver of webhooks, and a job without a flow engine."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from pro_video.core.clock import VirtualClock
from pro_video.core.job_names import JobKeys, attempt_reference
from pro_video.core.progress import Stage
from pro_video.core.waiting import Observation
from pro_video.records import Prepared
from pro_video.s3.storage import Storage, make_client
from sandbox.s3 import start_s3
from tasks.attempts.prepare import PaidRequest, keep_request
from tasks.attempts.provider import AcceptedJob, Provider
from tasks.run.job import Job
from tasks.run.job_state import LIP_SYNC, JobState
from tests.tasks.webhooks.receiver import Receiver

if TYPE_CHECKING:
    from tasks.run.progress import ProgressReporter


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """A storage on a bucket of its own."""
    with start_s3(
        tmp_path_factory.mktemp("s3"),
        host="127.0.0.1",
        port=0,
        access_key="test-access-key",
        secret_key="test-secret-key",
        region="us-east-1",
    ) as server:
        client = make_client(
            endpoint_url=server.url,
            region="us-east-1",
            access_key="test-access-key",
            secret_key="test-secret-key",
        )
        client.create_bucket(Bucket="hooks")
        yield Storage(client, "hooks", allow_private=True)
        client.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks."""
    running = Receiver()
    async with running.server:
        yield running


class NotedProgress:
    """Takes the place of the reporter that writes to Prefect; keeps what it is told."""

    def __init__(self) -> None:
        self.fractions: list[float] = []
        self.shown: dict[str, str] = {}
        self.reasons: list[str | None] = []
        self.blocked_by: str | None = None

    async def blocked(self, reason: str | None) -> None:
        self.blocked_by = reason
        if reason != (self.reasons[-1] if self.reasons else None):
            self.reasons.append(reason)

    async def fraction(self, stage: Stage, fraction: float) -> None:
        self.fractions.append(fraction)

    async def facts(self, facts: Mapping[str, str]) -> None:
        self.shown.update(facts)

    async def stage(self, stage: Stage, fraction: float = 0.0) -> None:
        self.fractions.append(fraction)

    @asynccontextmanager
    async def following(self, stage: Stage, read: Callable[[], float]) -> AsyncIterator[None]:
        yield
        self.fractions.append(read())


@pytest.fixture
def job() -> Job:
    """A job of its own, in virtual time."""
    job_id = str(uuid.uuid4())
    clock = VirtualClock()
    created = datetime.fromtimestamp(clock.time(), UTC)
    reporter = cast("ProgressReporter", NotedProgress())
    return Job(
        job_id, job_id, JobKeys(job_id), reporter, JobState(created, bucket="jobs-bucket"), clock
    )


class UnaskedProvider(Provider[Any]):
    """A provider whose calls fail the test; tests replace those that they expect."""

    step = LIP_SYNC
    name = "Sync.so"
    job_name = "Sync.so generation"
    slug = "sync-so"
    fact = "sync_generation_id"
    stage = Stage.LIP_SYNC_PROCESSING
    deadline_hours = 6.0
    search_seconds = 60.0

    async def send(
        self, body: bytes, reference: str, before_sending: Callable[[], None]
    ) -> AcceptedJob:
        raise AssertionError("nothing may be sent")

    async def find(
        self, references: Sequence[str], *, since: datetime, until: datetime
    ) -> AcceptedJob | None:
        raise AssertionError("nothing may be searched for")

    async def adopt(self, job_id: str) -> AcceptedJob:
        raise AssertionError("no job was named")

    async def read(self, job_id: str) -> Any:
        raise AssertionError("no job may be read")

    async def read_many(self, job_ids: Sequence[str]) -> dict[str, Any]:
        raise AssertionError("no job may be read")

    def observe(self, found: Any) -> Observation[Any]:
        raise AssertionError("no job may be read")

    async def result_url(self, job_id: str) -> str:
        raise AssertionError("no result may be fetched")


@pytest.fixture
async def prepared(job: Job, storage: Storage) -> Prepared:
    """The kept request of the job's first lip-sync attempt."""
    kept = await keep_request(
        job, storage, LIP_SYNC, 1, PaidRequest(b'{"exact": "bytes"}', expected_seconds=60)
    )
    assert kept.reference == attempt_reference(job.job_id, LIP_SYNC, 1)
    return kept
