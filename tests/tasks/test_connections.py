"""The blocks are read anew now and then; a Prefect server that is away stops no job."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tasks.blocks import GhostCutCredentials, SyncSoCredentials
from tasks.bucket import BucketDocument
from tasks.connections import ConnectionCache, Loaded

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
        self.cache = ConnectionCache(self.load, now=lambda: self.time)

    async def load(self) -> Loaded:
        self.reads += 1
        await asyncio.sleep(0)
        if self.away:
            raise httpx.ConnectError("away")
        return (
            BucketDocument(dict(self.content)),
            SyncSoCredentials(api_key="k"),
            GhostCutCredentials(app_key="k", app_secret="s"),
        )


async def test_many_askers_cost_one_read_and_one_client() -> None:
    blocks = Blocks()
    first = await blocks.cache.get()
    assert await blocks.cache.get() is first
    assert blocks.reads == 1
    blocks.time = 31
    assert (await blocks.cache.get()).storage is first.storage
    assert blocks.reads == 2


async def test_a_changed_block_is_heeded() -> None:
    blocks = Blocks()
    await blocks.cache.get()
    blocks.content["bucket_name"] = "second"
    blocks.time = 31
    assert (await blocks.cache.get()).storage.bucket == "second"


async def test_a_refused_key_is_read_again_by_one_asker() -> None:
    blocks = Blocks()
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


async def test_a_server_that_is_away_stops_no_job() -> None:
    blocks = Blocks()
    first = await blocks.cache.get()
    blocks.away, blocks.time = True, 600
    assert await blocks.cache.get() is first
    blocks.away = False
    blocks.content["bucket_name"] = "second"
    assert (await blocks.cache.get()).storage.bucket == "second"


async def test_a_server_that_never_answered_is_an_error() -> None:
    blocks = Blocks()
    blocks.away = True
    with pytest.raises(httpx.ConnectError):
        await blocks.cache.get()


async def test_only_the_keys_of_a_role_expire() -> None:
    assert BucketDocument({"credentials": {"assume_role_arn": "arn:aws:iam::1:role/r"}}).expires
    assert not BucketDocument({"credentials": {**KEYS, "assume_role_arn": None}}).expires
    assert not BucketDocument({}).expires
    blocks = Blocks()
    first = await blocks.cache.get()
    blocks.time = 5000
    assert (await blocks.cache.get()).storage is first.storage
