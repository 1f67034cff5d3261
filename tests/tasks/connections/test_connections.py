"""The blocks are read anew now and then; a Prefect server that is away stops no job."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from pro_video.core.errors import StorageRefused
from pro_video.s3.storage import Storage
from tasks.connections.blocks import GhostCutCredentials, SyncSoCredentials
from tasks.connections.bucket import BucketDocument
from tasks.connections.connections import ConnectionCache, Loaded

KEYS = {"aws_access_key_id": "id", "aws_secret_access_key": "key", "region_name": "eu-central-1"}


class Blocks:
    """Prefect's blocks, which may be out of reach, and a clock."""

    def __init__(self, **credentials: str) -> None:
        self.content: dict[str, Any] = {
            "bucket_name": "first",
            "credentials": {**KEYS, **credentials},
        }
        self.away = False
        self.reads = 0
        self.time = 0.0
        self.lacking: set[str] = set()
        self.cache = ConnectionCache(self.load, prove=self.prove, now=lambda: self.time)

    async def prove(self, storage: Storage) -> None:
        if storage.bucket in self.lacking:
            raise StorageRefused("It lacks something.", code="store_unfit")

    async def load(self) -> Loaded:
        self.reads += 1
        await asyncio.sleep(0)
        if self.away:
            raise httpx.ConnectError("away")
        return (
            BucketDocument(dict(self.content)),
            SyncSoCredentials(api_key="k"),
            GhostCutCredentials(app_key="k", app_secret="s"),
            BucketDocument({**self.content, "bucket_folder": "results"}),
        )


@pytest.fixture
def blocks() -> Blocks:
    return Blocks()


async def test_many_askers_cost_one_read_and_one_client(blocks: Blocks) -> None:
    first = await blocks.cache.get()
    assert await blocks.cache.get() is first
    assert blocks.reads == 1
    blocks.time = 31
    assert (await blocks.cache.get()).storage is first.storage
    assert blocks.reads == 2


async def test_a_job_goes_on_in_the_bucket_that_it_began_in(blocks: Blocks) -> None:
    first = (await blocks.cache.get()).storage
    blocks.content["bucket_name"] = "second"
    blocks.time = 31
    kept = await blocks.cache.staying_in(first.place)
    assert kept.storage is first
    assert (await blocks.cache.get()).storage.bucket == "second"
    assert (await blocks.cache.staying_in("s3://second")).storage.bucket == "second"


async def test_another_process_refuses_a_job_of_another_bucket_and_names_both(
    blocks: Blocks,
) -> None:
    with pytest.raises(StorageRefused) as caught:
        await blocks.cache.staying_in("s3://earlier at minio.example")
    assert "s3://earlier at minio.example" in caught.value.message
    assert "names s3://first" in caught.value.message
    assert caught.value.code == "other_bucket"


async def test_a_bucket_that_lacks_something_is_no_jobs_bucket(blocks: Blocks) -> None:
    first = (await blocks.cache.get()).storage
    blocks.lacking.add("second")
    blocks.content["bucket_name"] = "second"
    blocks.time = 31
    with pytest.raises(StorageRefused, match="lacks"):
        await blocks.cache.get()
    assert (await blocks.cache.staying_in(first.place)).storage is first


async def test_a_refused_key_is_read_again_by_one_asker(blocks: Blocks) -> None:
    first = await blocks.cache.get()
    blocks.time = 4
    blocks.cache.expire(5)
    assert await blocks.cache.get() is first
    assert blocks.reads == 1, "it was read a moment ago"
    blocks.time = 6
    blocks.cache.expire(5)
    found = await asyncio.gather(*(blocks.cache.get() for _ in range(100)))
    assert blocks.reads == 2
    assert found[0] is not first
    assert all(each is first for each in found[1:])
    assert await blocks.cache.get() is found[0]


async def test_a_server_that_is_away_stops_no_job(blocks: Blocks) -> None:
    first = await blocks.cache.get()
    blocks.away, blocks.time = True, 600
    assert await blocks.cache.get() is first
    blocks.away = False
    blocks.content["bucket_name"] = "second"
    assert (await blocks.cache.get()).storage.bucket == "second"


async def test_a_server_that_never_answered_is_an_error(blocks: Blocks) -> None:
    blocks.away = True
    with pytest.raises(httpx.ConnectError):
        await blocks.cache.get()


async def test_only_the_keys_of_a_role_expire(blocks: Blocks) -> None:
    assert BucketDocument({"credentials": {"assume_role_arn": "arn:aws:iam::1:role/r"}}).expires
    assert not BucketDocument({"credentials": {**KEYS, "assume_role_arn": None}}).expires
    assert not BucketDocument({}).expires
    first = await blocks.cache.get()
    blocks.time = 5000
    assert (await blocks.cache.get()).storage is first.storage
