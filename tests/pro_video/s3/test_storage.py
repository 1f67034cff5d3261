"""The bucket: files in and out, copies, small objects, links."""

from __future__ import annotations

import asyncio
import os
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pro_video.core.errors import (
    SourceRefused,
    StorageRefused,
    StorageUnavailable,
    TransferInterrupted,
)
from pro_video.core.stopping import Stopped, StopReason, StopSignal, use_stop
from pro_video.s3.storage import Storage, Tuning, make_client, parse_s3_uri
from pro_video.s3.transfers import crc
from pro_video.s3.transfers.multipart import MAX_PARTS, part_size_for
from tests.support.source_server import SourceFile, SourceServer
from tests.support.storage import BUCKET, MIB, PART, QUICK, REGION, noise, stored, unfinished

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DATA = noise(2 * PART + 100_005)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(DATA)
    return path


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("size", [1, 1000, PART, PART + 1, len(DATA)])
async def test_a_file_arrives_whole_with_its_checksum(
    storage: Storage, s3_client: S3Client, tmp_path: Path, key: str, size: int
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(DATA[:size])
    seen: list[tuple[int, int | None]] = []
    result = await storage.put_file(
        path, key, content_type="video/mp4", on_progress=lambda *now: seen.append(now)
    )
    assert stored(s3_client, key) == DATA[:size]
    assert (result.size, result.content_type) == (size, "video/mp4")
    assert result.checksum_crc32 == crc.encode(zlib.crc32(DATA[:size]))
    assert result == await storage.head(key)
    assert seen[0] == (0, size)
    assert seen[-1] == (size, size)
    assert unfinished(s3_client, key) == []


async def test_only_regular_files_are_taken(storage: Storage, tmp_path: Path, key: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    empty = tmp_path / "empty"
    empty.touch()
    for path in (tmp_path, pipe, Path("/dev/zero"), empty, tmp_path / "none", "bad\0name"):
        with pytest.raises(SourceRefused):
            await asyncio.wait_for(storage.put_file(path, key), 10)
    assert await storage.head(key) is None


async def test_a_file_that_is_too_large_is_not_read(
    make_storage: Callable[..., Storage], file: Path, key: str
) -> None:
    with pytest.raises(SourceRefused) as caught:
        await make_storage(max_bytes=len(DATA) - 1).put_file(file, key)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("change", ["grows", "shrinks", "is rewritten"])
async def test_a_file_that_changes_while_it_is_read_is_refused(
    storage: Storage, s3_client: S3Client, file: Path, key: str, change: str
) -> None:
    def meddle(done: int, total: int | None) -> None:
        if done == 0:
            if change == "grows":
                with file.open("ab") as out:
                    out.write(b"more")
            elif change == "shrinks":
                os.truncate(file, PART)
            else:
                with file.open("r+b") as out:
                    out.write(b"\0" * 100)

    with pytest.raises(SourceRefused) as caught:
        await storage.put_file(file, key, on_progress=meddle)
    assert caught.value.code == "source_changed"
    assert await storage.head(key) is None
    assert unfinished(s3_client, key) == []


async def test_a_part_that_arrives_damaged_is_refused(
    storage: Storage, s3_client: S3Client, file: Path, key: str
) -> None:
    # The event hook is boto3's own: it changes the bytes behind the checksum, as a bad wire would.
    def damage(request: object, **_: object) -> None:
        body = getattr(request, "body", None)
        if isinstance(body, bytearray):
            request.body = bytes(body[:-1]) + bytes([body[-1] ^ 1])  # type: ignore[attr-defined]

    events = s3_client.meta.events
    events.register("before-send.s3.UploadPart", damage)
    try:
        with pytest.raises(TransferInterrupted):
            await storage.put_file(file, key)
    finally:
        events.unregister("before-send.s3.UploadPart", damage)
    assert await storage.head(key) is None
    assert unfinished(s3_client, key) == []


@pytest.mark.parametrize("parts", [False, True])
async def test_a_copy_is_made_by_the_server(
    make_storage: Callable[..., Storage], s3_client: S3Client, key: str, parts: bool
) -> None:
    tuning = Tuning(copy_limit=PART if parts else 10 * PART, copy_part_size=PART, workers=2)
    storage = make_storage(tuning=tuning)
    s3_client.put_object(Bucket=BUCKET, Key="in/ü 1.mp4", Body=DATA, ContentType="video/mp4")
    seen: list[int] = []
    result = await storage.copy_object(
        f"s3://{BUCKET}/in/ü 1.mp4", key, on_progress=lambda done, total: seen.append(done)
    )
    assert stored(s3_client, key) == DATA
    assert (result.key, result.size, result.content_type) == (key, len(DATA), "video/mp4")
    assert result.checksum_crc32 == crc.encode(zlib.crc32(DATA))
    assert seen == sorted(seen)
    assert seen[-1] == len(DATA)
    assert result.etag.endswith('-3"') is parts


async def test_a_copy_from_another_bucket(storage: Storage, s3_client: S3Client, key: str) -> None:
    s3_client.create_bucket(
        Bucket="other-bucket", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    s3_client.put_object(Bucket="other-bucket", Key="clip", Body=b"data")
    result = await storage.copy_object("s3://other-bucket/clip", key, content_type="video/webm")
    assert stored(s3_client, key) == b"data"
    assert result.content_type == "video/webm"


async def test_a_copy_onto_itself_changes_nothing(storage: Storage, key: str) -> None:
    await storage.put_bytes(key, b"data")
    before = await storage.head(key)
    assert await storage.copy_object(storage.uri(key), key) == before


async def test_what_cannot_be_copied(
    make_storage: Callable[..., Storage], s3_client: S3Client, key: str
) -> None:
    storage = make_storage(max_bytes=10)
    s3_client.put_object(Bucket=BUCKET, Key=key, Body=b"eleven byte")
    s3_client.put_object(Bucket=BUCKET, Key=f"{key}.empty", Body=b"")
    for uri in (
        storage.uri(key),
        storage.uri(f"{key}.empty"),
        storage.uri("no/such/object"),
        "https://example.com/a",
        "s3://",
        "s3://bucket",
        "s3://bucket/",
        "s3://Not_A_Bucket/key",
        "s3://bucket/" + "k" * 1025,
        "s3://bucket/a\nb",
    ):
        with pytest.raises(SourceRefused):
            await storage.copy_object(uri, "copy")


@pytest.mark.parametrize("parts", [False, True])
async def test_a_source_replaced_under_way_is_not_copied(
    make_storage: Callable[..., Storage], s3_client: S3Client, key: str, parts: bool
) -> None:
    tuning = Tuning(copy_limit=PART if parts else 10 * PART, copy_part_size=PART, workers=1)
    s3_client.put_object(Bucket=BUCKET, Key=f"{key}.in", Body=DATA)

    def replace(done: int, total: int | None) -> None:
        if done == 0:
            s3_client.put_object(Bucket=BUCKET, Key=f"{key}.in", Body=DATA[::-1])

    with pytest.raises(SourceRefused) as caught:
        await make_storage(tuning=tuning).copy_object(
            f"s3://{BUCKET}/{key}.in", key, on_progress=replace
        )
    assert caught.value.code == "source_changed"
    assert unfinished(s3_client, key) == []
    with pytest.raises(s3_client.exceptions.ClientError):
        s3_client.head_object(Bucket=BUCKET, Key=key)


def test_s3_addresses() -> None:
    assert parse_s3_uri("s3://my-bucket/a/b%20c ü") == ("my-bucket", "a/b%20c ü")
    assert parse_s3_uri("s3://my-bucket/a/.b/..c/d..") == ("my-bucket", "a/.b/..c/d..")
    # Keys are no paths to S3. The gateway refuses these of its clients.
    for key in ("a//b", "/a", "a/", "./a", "a/../b"):
        assert parse_s3_uri(f"s3://my-bucket/{key}") == ("my-bucket", key)


async def test_small_objects(storage: Storage, key: str) -> None:
    assert await storage.get_bytes(key, 10) is None
    assert await storage.head(key) is None
    assert await storage.put_bytes(key, b"0123456789", content_type="application/json")
    assert await storage.get_bytes(key, 10) == b"0123456789"
    with pytest.raises(SourceRefused):
        await storage.get_bytes(key, 9)
    found = await storage.head(key)
    assert found is not None
    assert (found.size, found.content_type) == (10, "application/json")
    assert await storage.put_bytes(key, b"")
    assert await storage.get_bytes(key, 0) == b""
    await storage.delete(key)
    await storage.delete(key)
    assert await storage.head(key) is None


async def test_exactly_one_of_many_writers_wins(storage: Storage, key: str) -> None:
    won = await asyncio.gather(
        *(storage.put_bytes(key, b"writer %d" % n, if_absent=True) for n in range(12))
    )
    assert sum(won) == 1
    assert await storage.get_bytes(key, 100) == b"writer %d" % won.index(True)


async def test_a_lost_answer_does_not_hide_that_we_won(
    storage: Storage, faults: Callable[..., None], key: str
) -> None:
    faults({"call": "put_object", "kind": "lost_answer", "match": {"key": key}})
    assert await storage.put_bytes(key, b"ours", if_absent=True)
    assert not await storage.put_bytes(key, b"ours", if_absent=True)


async def test_a_lost_answer_does_not_make_us_the_winner(
    storage: Storage, faults: Callable[..., None], key: str
) -> None:
    await storage.put_bytes(key, b"theirs")
    faults({"call": "put_object", "kind": "500", "match": {"key": key}})
    assert not await storage.put_bytes(key, b"ours", if_absent=True)


async def test_a_conflict_of_conditional_writes_is_asked_again(
    make_storage: Callable[..., Storage], source: SourceServer
) -> None:
    client = make_client(endpoint_url=source.url(""), region=REGION, access_key="a", secret_key="b")
    storage = make_storage(client=client)
    place = source.files[f"/{BUCKET}/claim"] = SourceFile()
    conflict = (409, "ConditionalRequestConflict")
    place.put_errors = [conflict, conflict]
    assert await storage.put_bytes("claim", b"data", if_absent=True)
    assert len(source.requests) == 3
    assert {headers["if-none-match"] for _, headers in source.requests} == {"*"}
    place.put_errors = [conflict, (412, "PreconditionFailed")]
    assert not await storage.put_bytes("claim", b"data", if_absent=True)
    place.put_errors = [conflict] * 99
    with pytest.raises(StorageUnavailable):
        await storage.put_bytes("claim", b"data", if_absent=True)
    assert len(place.put_errors) == 99 - QUICK.backoff.tries
    client.close()


async def test_a_download_is_whole_or_nothing(
    storage: Storage, s3_client: S3Client, file: Path, tmp_path: Path, key: str
) -> None:
    await storage.put_file(file, key)
    out = tmp_path / "out" / "copy.mp4"
    out.parent.mkdir()
    out.write_bytes(b"old")
    await storage.download(key, out)
    assert out.read_bytes() == DATA
    assert [path.name for path in out.parent.iterdir()] == ["copy.mp4"]
    with pytest.raises(SourceRefused):
        await storage.download("no/such/object", out)
    with pytest.raises(SourceRefused):
        await storage.download(key, tmp_path / "no folder" / "copy.mp4")
    assert out.read_bytes() == DATA


async def test_a_download_goes_on_behind_a_cut(
    make_storage: Callable[..., Storage],
    once_client: S3Client,
    faults: Callable[..., None],
    file: Path,
    tmp_path: Path,
    key: str,
) -> None:
    storage = make_storage(client=once_client)
    await storage.put_file(file, key)
    faults(
        {"call": "get_object", "kind": "truncate", "after_bytes": 3 * MIB, "match": {"key": key}},
        {"call": "get_object", "kind": "500", "match": {"key": key}},
    )
    await storage.download(key, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA


async def test_a_download_with_a_wrong_byte_is_noticed(
    storage: Storage, faults: Callable[..., None], file: Path, tmp_path: Path, key: str
) -> None:
    await storage.put_file(file, key)
    faults({"call": "get_object", "kind": "corrupt", "match": {"key": key}})
    with pytest.raises(TransferInterrupted) as caught:
        await storage.download(key, tmp_path / "out")
    assert caught.value.code == "checksum"
    assert names(tmp_path) == [file.name]


async def test_a_server_without_ranges_cannot_damage_a_download(
    storage: Storage, faults: Callable[..., None], file: Path, tmp_path: Path, key: str
) -> None:
    await storage.put_file(file, key)
    faults(
        {"call": "get_object", "kind": "truncate", "after_bytes": 3 * MIB, "match": {"key": key}},
        {"call": "get_object", "kind": "ignore_range", "match": {"key": key}},
    )
    with pytest.raises(TransferInterrupted) as caught:
        await storage.download(key, tmp_path / "out")
    assert caught.value.code == "no_range"
    assert names(tmp_path) == [file.name]


async def test_many_objects_are_removed_in_batches(
    storage: Storage, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pro_video.s3.storage.MOST_DELETES", 2)
    keys = [f"{key}/{number}" for number in range(5)]
    for each in keys:
        await storage.put_bytes(each, b"data")
    await storage.delete_many([*keys[:2], f"{key}/missing", *keys[2:4]])
    assert [(each.key, each.size) for each in storage.listed(f"{key}/")] == [(keys[4], 4)]
    stop = StopSignal()
    stop.set(StopReason.CANCELLED)
    with use_stop(stop), pytest.raises(Stopped):
        await storage.delete_many(keys)
    assert await storage.head(keys[4]) is not None


@pytest.mark.parametrize(
    ("code", "kind"), [("AccessDenied", StorageRefused), ("InternalError", StorageUnavailable)]
)
async def test_an_object_that_cannot_be_removed_is_told(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, code: str, kind: type[Exception]
) -> None:
    answer = {"Errors": [{"Key": "a", "Code": "NoSuchKey"}, {"Key": "b", "Code": code}]}
    monkeypatch.setattr(storage.target("", "").client, "delete_objects", lambda **_: answer)
    with pytest.raises(kind, match=f"removing 2 objects .{code}."):
        await storage.delete_many(["a", "b"])


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.usefixtures("no_proxy")
async def test_a_link_lets_anyone_read_and_only_read(storage: Storage, key: str) -> None:
    await storage.put_bytes(key, b"data")
    link = await storage.presign(key, 24 * 3600)
    query = parse_qs(urlsplit(link).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["86400"]
    assert urlsplit(link).path.startswith(f"/{BUCKET}/")

    def ask(request: urllib.request.Request) -> bytes:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    assert await asyncio.to_thread(ask, urllib.request.Request(link)) == b"data"
    put = urllib.request.Request(link, data=b"other", method="PUT")
    with pytest.raises(urllib.error.HTTPError) as caught:
        await asyncio.to_thread(ask, put)
    caught.value.close()
    assert caught.value.code == 403


@pytest.mark.parametrize("seconds", [0, -1, 7 * 24 * 3600 + 1, float("nan"), float("inf")])
async def test_a_link_lives_for_seven_days_at_most(storage: Storage, seconds: float) -> None:
    with pytest.raises(StorageRefused) as caught:
        await storage.presign("key", seconds)
    assert "7 days" in caught.value.message
    assert await storage.presign("key", 7 * 24 * 3600)


@pytest.mark.parametrize("region", ["us-east-1", "us-west-2", "eu-central-1"])
def test_links_to_aws_name_the_regional_host_and_use_sigv4(region: str) -> None:
    client = make_client(endpoint_url=None, region=region, access_key="a", secret_key="b")
    link = urlsplit(
        client.generate_presigned_url("get_object", Params={"Bucket": "my-bucket", "Key": "k"})
    )
    client.close()
    hosts = {f"my-bucket.s3.{region}.amazonaws.com"}
    if region == "us-east-1":
        hosts.add("my-bucket.s3.amazonaws.com")
    assert link.hostname in hosts
    assert "AWS4-HMAC-SHA256" in link.query


async def test_secrets_stay_out_of_representations(storage: Storage) -> None:
    assert repr(storage) == f"Storage(bucket='{BUCKET}')"


async def test_an_object_of_another_writer_is_never_removed(
    storage: Storage, s3_client: S3Client, file: Path, key: str
) -> None:
    # Another worker's object lands on the key between our write and our look at it.
    def overtake(**_: object) -> None:
        events.unregister("before-call.s3.HeadObject", overtake)
        s3_client.put_object(Bucket=BUCKET, Key=key, Body=b"theirs")

    events = s3_client.meta.events
    for path in (file, file.with_name("small")):
        path.write_bytes(DATA if path == file else b"ours")
        events.register("before-call.s3.HeadObject", overtake)
        with pytest.raises(TransferInterrupted):
            await storage.put_file(path, key)
        assert stored(s3_client, key) == b"theirs"


def test_the_largest_file_keeps_parts_small(s3_client: S3Client) -> None:
    for bad in (0, -1, 2**50):
        with pytest.raises(ValueError, match="max_bytes"):
            Storage(s3_client, BUCKET, max_bytes=bad, tuning=QUICK)


@given(st.integers(0, 5 * 1024**4))
def test_parts_are_never_more_than_s3_takes(total: int) -> None:
    size = part_size_for(total, 8 * MIB)
    assert size >= 8 * MIB
    assert size * MAX_PARTS >= total
    assert size == 8 * MIB or (size - MIB) * MAX_PARTS < total


@given(st.lists(st.binary(min_size=0, max_size=300), min_size=1, max_size=6))
def test_checksums_of_parts_make_that_of_the_whole(parts: list[bytes]) -> None:
    sums = [(zlib.crc32(part), len(part)) for part in parts]
    joined = zlib.crc32(b"".join(parts))
    assert crc.whole(sums) == crc.encode(joined)
    assert crc.decode(crc.encode(joined)) == joined
    assert crc.composite(sums).endswith(f"-{len(parts)}")
