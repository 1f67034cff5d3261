"""The file object over ranged GETs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pro_video.core.errors import MediaUnusable, SourceRefused, StorageUnavailable
from pro_video.media.probe import probe
from pro_video.s3.objects import head_object
from pro_video.s3.ranged_reader import RangedReader
from pro_video.s3.storage import Storage
from tests.support.storage import BUCKET, MIB, noise

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DATA = noise(3 * MIB + 11)


@pytest.fixture
def open_reader(s3_client: S3Client, key: str) -> Callable[..., RangedReader]:
    s3_client.put_object(Bucket=BUCKET, Key=key, Body=DATA)

    def opened(byte_budget: int = 64 * MIB, client: S3Client = s3_client) -> RangedReader:
        obj = head_object(client, BUCKET, key)
        assert obj is not None
        return RangedReader(client, BUCKET, obj, byte_budget=byte_budget, blocks=16)

    return opened


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    moves=st.lists(
        st.tuples(
            st.sampled_from(["set", "cur", "end"]),
            st.integers(-len(DATA), len(DATA) + 10),
            st.integers(0, 400_000),
        ),
        max_size=8,
    )
)
def test_it_reads_like_a_file(
    open_reader: Callable[..., RangedReader], moves: list[tuple[str, int, int]]
) -> None:
    reader = open_reader()
    real = io.BytesIO(DATA)
    for whence, offset, size in moves:
        base = {"set": 0, "cur": real.tell(), "end": len(DATA)}[whence]
        where = {"set": 0, "cur": 1, "end": 2}[whence]
        if base + offset < 0:
            with pytest.raises(ValueError, match="position"):
                reader.seek(offset, where)
            continue
        assert reader.seek(offset, where) == real.seek(offset, where)
        assert reader.read(size) == real.read(size)
        assert reader.tell() == real.tell()


def test_reading_on_asks_for_more_at_once(open_reader: Callable[..., RangedReader]) -> None:
    reader = open_reader()
    assert b"".join(iter(lambda: reader.read(10_000), b"")) == DATA
    assert reader.bytes_read == len(DATA)
    assert reader.requests <= 5
    reader.seek(-10, io.SEEK_END)
    assert reader.read() == DATA[-10:]
    assert reader.requests <= 5


def test_a_jump_reads_one_block(open_reader: Callable[..., RangedReader]) -> None:
    reader = open_reader()
    reader.seek(2 * MIB)
    assert reader.read(10) == DATA[2 * MIB : 2 * MIB + 10]
    assert (reader.requests, reader.bytes_read) == (1, 256 * 1024)
    assert reader.readable()
    assert reader.seekable()
    assert not reader.writable()


def test_the_budget_holds(open_reader: Callable[..., RangedReader]) -> None:
    reader = open_reader(byte_budget=MIB)
    with pytest.raises(MediaUnusable) as caught:
        reader.read()
    assert caught.value.code == "byte_budget"
    assert reader.bytes_read <= MIB


def test_a_changed_object_is_refused(
    open_reader: Callable[..., RangedReader], s3_client: S3Client, key: str
) -> None:
    reader = open_reader()
    assert reader.read(10) == DATA[:10]
    s3_client.put_object(Bucket=BUCKET, Key=key, Body=DATA[::-1])
    reader.seek(2 * MIB)
    with pytest.raises(SourceRefused) as caught:
        reader.read(10)
    assert caught.value.code == "source_changed"
    s3_client.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(SourceRefused):
        reader.read(10)


def test_breaks_are_retried_a_few_times(
    open_reader: Callable[..., RangedReader],
    once_client: S3Client,
    faults: Callable[..., None],
    key: str,
) -> None:
    reader = open_reader(client=once_client)
    cut = {"call": "get_object", "kind": "truncate", "match": {"key": key}}
    faults(cut | {"times": 2})
    assert reader.read(10) == DATA[:10]
    assert reader.requests == 3
    faults(cut | {"times": 3})
    reader.seek(2 * MIB)
    with pytest.raises(StorageUnavailable):
        reader.read(10)


def test_a_server_without_ranges_is_not_drained(
    open_reader: Callable[..., RangedReader], faults: Callable[..., None], key: str
) -> None:
    faults({"call": "get_object", "kind": "ignore_range", "match": {"key": key}})
    with pytest.raises(SourceRefused) as caught:
        open_reader().read(10)
    assert caught.value.code == "no_range"


async def test_a_video_is_probed_without_reading_it_whole(storage: Storage, key: str) -> None:
    clip = Path(__file__).parents[3] / "../shared/media/bigbuckbunny.mp4"
    if not clip.exists():
        pytest.skip(f"there is no {clip.name} beside the repository")
    await storage.put_file(clip, key)
    with await storage.reader(key) as reader:
        info = probe(reader, size=reader.size)
        assert info.video is not None
        assert reader.bytes_read < reader.size / 2
        assert reader.requests <= 4


async def test_the_storage_opens_readers(storage: Storage, key: str) -> None:
    await storage.put_bytes(key, b"data")
    reader = await storage.reader(key)
    assert (reader.size, reader.read()) == (4, b"data")
    with pytest.raises(SourceRefused):
        await storage.reader("no/such/object")
