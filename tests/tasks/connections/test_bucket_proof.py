"""A bucket is tried out once in a process, and before a job relies on it."""

from __future__ import annotations

import pytest

from pro_video.core.errors import StorageRefused, StorageUnavailable
from pro_video.s3.storage import Storage
from tasks.connections import bucket_proof
from tasks.connections.bucket_proof import prove, prove_when_reachable


class Tried(Storage):
    """A bucket whose trial ends as told."""

    def __init__(self, *ends: Exception | None) -> None:
        self.bucket = "tried"
        self.keys: list[str] = []
        self._ends = list(ends)

    @property
    def place(self) -> str:
        return "s3://tried"

    async def prove(self, key: str) -> None:
        self.keys.append(key)
        end = self._ends.pop(0) if self._ends else None
        if end is not None:
            raise end


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_proof, "_proven", set())


async def test_a_bucket_is_tried_once_for_each_folder() -> None:
    storage = Tried()
    for _ in range(3):
        await prove(storage)
    await prove(storage, "")
    assert len(storage.keys) == 2
    assert storage.keys[0].startswith("results/")
    assert not storage.keys[1].startswith("/")


async def test_a_bucket_that_lacks_something_is_refused_each_time() -> None:
    lacking = StorageRefused("It lacks something.", code="store_unfit")
    storage = Tried(lacking, lacking)
    for _ in range(2):
        with pytest.raises(StorageRefused):
            await prove_when_reachable(storage)


async def test_a_server_that_is_away_is_tried_by_the_next_job() -> None:
    storage = Tried(StorageUnavailable("Away."))
    await prove_when_reachable(storage)
    await prove_when_reachable(storage)
    await prove_when_reachable(storage)
    assert len(storage.keys) == 2
