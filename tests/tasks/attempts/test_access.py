"""Keys that are exchanged while jobs wait for both providers, which are real servers here."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from pro_video.core.clock import SYSTEM_CLOCK
from pro_video.core.errors import StorageRefused
from pro_video.core.settings import get_settings, use_settings
from pro_video.providers.ghostcut.client import signature
from pro_video.records import Outcome, Prepared, Submission
from tasks.attempts.access import once_allowed, sync_so_client
from tasks.attempts.follow import follow
from tasks.attempts.step import PaidStep
from tasks.connections import connections as module
from tasks.connections.blocks import GhostCutCredentials, SyncSoCredentials
from tasks.connections.bucket import BucketDocument
from tasks.connections.connections import ConnectionCache, Loaded
from tasks.inpainting import InpaintingStep
from tasks.lip_sync import LipSyncStep
from tasks.run.job import Job
from tests.support.scripted import Asked, Reply, ScriptedServer
from tests.tasks.conftest import NotedProgress

if TYPE_CHECKING:
    from tasks.run.progress import ProgressReporter

JOBS = 25
PATIENCE = 300.0
pytestmark = pytest.mark.timeout(600)
PROVIDER_JOBS = {"sync-so": "g-1", "ghostcut": "7"}
SYNC_SO = "Sync.so refuses the key; correct the block sync-so-credentials/pro-video."
GHOSTCUT = "GhostCut refuses the key; correct the block ghostcut-credentials/pro-video."


@dataclass
class Providers:
    """Both vendors behind one address, what they take for their keys, and the blocks.

    Attributes:
        url: of both.
        keys: what the vendors take: Sync.so's key, GhostCut's secret.
        blocks: what the blocks hold of that; None while they are made anew.
        done: the vendors' jobs have ended.
        refused: calls that were refused.
        later: seconds that have passed besides those of the clock.
    """

    url: str = ""
    keys: tuple[str, str] = ("sync-1", "ghost-1")
    blocks: tuple[str, str] | None = ("sync-1", "ghost-1")
    done: bool = False
    refused: list[str] = field(default_factory=list)
    later: float = 0.0

    def answer(self, asked: Asked) -> Reply:
        if asked.method == "GET":
            if asked.headers["x-api-key"] != [self.keys[0]]:
                self.refused.append("sync-so")
                return Reply(401, {"statusCode": 401, "message": "Unauthorized"})
            generation = {"id": "g-1", "status": "COMPLETED" if self.done else "PROCESSING"}
            return Reply(200, {**generation, "outputUrl": "https://o/x"})
        if asked.headers["appsign"] != [signature(asked.body, self.keys[1])]:
            self.refused.append("ghostcut")
            return Reply(200, {"code": 2004, "msg": "sign invalid", "body": None})
        work = {"id": 7, "idProject": 1, "processStatus": int(self.done), "videoUrl": "https://o/y"}
        assert json.loads(asked.body) == {"idWorks": [7]}
        return Reply(200, {"code": 1000, "msg": "success", "body": {"content": [work]}})

    async def load(self) -> Loaded:
        if self.blocks is None:
            raise StorageRefused("Unable to find the block.", code="block_missing")
        sync_so, ghostcut = self.blocks
        bucket = {"bucket_name": "jobs", "credentials": {"region_name": "us-east-1"}}
        return (
            BucketDocument(bucket),
            SyncSoCredentials(api_key=sync_so, base_url=self.url),
            GhostCutCredentials(app_key="app", app_secret=ghostcut, base_url=self.url),
            BucketDocument(bucket),
        )


@pytest.fixture
def quick() -> Iterator[None]:
    """Looks follow one another quickly."""
    with use_settings(get_settings().model_copy(update={"poll_seconds": 1.0})):
        yield


@pytest.fixture
async def providers(quick: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Providers]:
    vendors = Providers()
    # A quick clock, so that a block is soon read again.
    cache = ConnectionCache(vendors.load, now=lambda: time.monotonic() * 20 + vendors.later)
    monkeypatch.setitem(module._caches, get_settings(), cache)
    async with ScriptedServer(answer=vendors.answer) as server:
        vendors.url = server.url
        yield vendors


def real(job: Job) -> Job:
    """The job in real time, with progress of its own."""
    reporter = cast("ProgressReporter", NotedProgress())
    return dataclasses.replace(job, clock=SYSTEM_CLOCK, reporter=reporter)


def reasons(job: Job) -> list[str | None]:
    return cast("NotedProgress", job.reporter).reasons


def looked(job: Job) -> bool:
    return bool(cast("NotedProgress", job.reporter).fractions)


async def wait_for_one(job: Job, provider: str) -> Outcome:
    now = datetime.now(UTC)
    prepared = Prepared(
        attempt=1, reference="pv-1", body_key="k", prepared_at=now, expected_seconds=0.1
    )
    submission = Submission(provider_job_id=PROVIDER_JOBS[provider], submitted_at=now)
    nothing = cast("Any", None)
    step: PaidStep
    if provider == "sync-so":
        step = LipSyncStep(job, nothing, nothing, nothing, {})
    else:
        step = InpaintingStep(job, nothing, nothing, nothing)
    async with step.open_provider() as opened:
        return await follow(job, opened, prepared, submission)


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is in other tasks
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("blocks_vanish", [False, True])
async def test_both_keys_are_exchanged_under_waiting_jobs(
    job: Job, providers: Providers, blocks_vanish: bool
) -> None:
    jobs = [(real(job), name) for name in ("sync-so", "ghostcut") for _ in range(JOBS)]
    async with asyncio.TaskGroup() as waiting:
        tasks = [waiting.create_task(wait_for_one(each, name)) for each, name in jobs]
        await until(lambda: all(looked(each) for each, _ in jobs))
        providers.keys = ("sync-2", "ghost-2")
        if blocks_vanish:
            providers.blocks = None
        await until(lambda: all(reasons(each) for each, _ in jobs))
        assert not any(task.done() for task in tasks)
        providers.blocks = ("sync-2", "ghost-2")
        await until(lambda: all(reasons(each)[-1] is None for each, _ in jobs))
        providers.done = True
    assert all(task.result().failure is None for task in tasks)
    for each, name in jobs:
        reason = SYNC_SO if name == "sync-so" else GHOSTCUT
        assert reasons(each) == [f"{reason} The job goes on by itself.", None]


async def test_a_key_that_the_block_has_already_is_used_without_a_word(
    job: Job, providers: Providers
) -> None:
    jobs = [(real(job), name) for name in ("sync-so", "ghostcut")]
    async with asyncio.TaskGroup() as waiting:
        for each, name in jobs:
            waiting.create_task(wait_for_one(each, name))
        await asyncio.sleep(0)
        providers.blocks = ("sync-2", "ghost-2")
        providers.later = 60.0
        # The old keys hold until the vendors forget them.
        providers.keys = ("sync-2", "ghost-2")
        await until(lambda: set(providers.refused) == {"sync-so", "ghostcut"})
        providers.done = True
    assert [reasons(each) for each, _ in jobs] == [[], []]
    assert len(providers.refused) == 2


async def test_a_block_whose_key_cannot_be_one_is_waited_for(
    job: Job, providers: Providers
) -> None:
    """Somebody has pasted a line too much; a client cannot even be made of it."""
    providers.blocks = ("sync-1\nkey:", "ghost-1")
    providers.done = True
    waiter = real(job)
    async with asyncio.TaskGroup() as waiting:
        task = waiting.create_task(wait_for_one(waiter, "sync-so"))
        await until(lambda: bool(reasons(waiter)))
        providers.blocks = ("sync-1", "ghost-1")
        module.expire_connections(0)
    assert task.result().failure is None
    assert reasons(waiter) == [f"{SYNC_SO} The job goes on by itself.", None]
    assert "key:" not in str(reasons(waiter))


async def test_the_link_of_a_result_is_waited_for(job: Job, providers: Providers) -> None:
    providers.done = True
    waiter = real(job)
    async with await sync_so_client(waiter) as client, asyncio.TaskGroup() as waiting:
        providers.keys = ("sync-2", "ghost-1")
        task = waiting.create_task(once_allowed(waiter, lambda: client.generation("g-1")))
        await until(lambda: bool(reasons(waiter)))
        providers.blocks = providers.keys
    assert reasons(waiter) == [f"{SYNC_SO} The job goes on by itself.", None]
    assert task.result().output_url == "https://o/x"
