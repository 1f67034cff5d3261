"""From a URL into the bucket: every way a source may behave."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from pro_video.core.errors import (
    DeadlineExceeded,
    LinkExpired,
    SourceRefused,
    StorageUnavailable,
    TransferInterrupted,
)
from pro_video.core.stopping import Stopped, StopReason, StopSignal, use_stop
from pro_video.net.gate import Gate
from pro_video.s3.objects import StoredObject
from pro_video.s3.storage import Storage
from tests.support.source_server import SourceFile, SourceServer
from tests.support.storage import BUCKET, MIB, PART, QUICK, noise, stored, unfinished

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DATA = noise(2 * PART + 300_017)
OTHER = noise(len(DATA), seed=2)
SMALL = noise(1000)


@dataclass
class Transfer:
    """A source, a bucket, and the key that a fetch writes."""

    make_storage: Callable[..., Storage]
    storage: Storage
    client: S3Client
    source: SourceServer
    key: str

    def use(self, **options: Any) -> None:
        self.storage = self.make_storage(**options)

    async def fetch(self, file: SourceFile, **options: Any) -> StoredObject:
        url = self.source.add("/v.mp4", file) + "?sig=secret"
        return await self.storage.fetch(url, self.key, **options)

    def stored(self) -> bytes:
        return stored(self.client, self.key)

    async def nothing_left(self) -> None:
        assert await self.storage.head(self.key) is None
        assert unfinished(self.client, self.key) == []


@pytest.fixture
def transfer(
    make_storage: Callable[..., Storage], s3_client: S3Client, source: SourceServer, key: str
) -> Transfer:
    return Transfer(make_storage, make_storage(), s3_client, source, key)


@pytest.mark.parametrize(
    ("file", "requests"),
    [
        pytest.param(SourceFile(DATA), 3, id="ranges"),
        pytest.param(SourceFile(DATA, ranges=False), 1, id="no ranges"),
        pytest.param(SourceFile(DATA, etag=None), 2, id="no etag"),
        pytest.param(SourceFile(DATA, etag='W/"1"'), 2, id="weak etag"),
        pytest.param(SourceFile(DATA, ranges=False, framing="chunked"), 1, id="length unknown"),
        pytest.param(SourceFile(DATA, most_per_answer=2 * MIB), 7, id="short answers"),
        pytest.param(SourceFile(SMALL), 1, id="small"),
        pytest.param(SourceFile(SMALL, etag=None), 1, id="small without etag"),
        pytest.param(SourceFile(SMALL, ranges=False, framing="chunked"), 1, id="small chunked"),
        pytest.param(SourceFile(DATA[:PART]), 1, id="one part"),
        pytest.param(SourceFile(DATA[: PART + 1]), 2, id="one byte more"),
        pytest.param(
            SourceFile(DATA[: 2 * PART], ranges=False, framing="chunked"), 1, id="whole parts"
        ),
    ],
)
async def test_every_kind_of_source_arrives_whole(
    transfer: Transfer, file: SourceFile, requests: int
) -> None:
    seen: list[tuple[int, int | None]] = []
    result = await transfer.fetch(file, on_progress=lambda *now: seen.append(now))
    assert transfer.stored() == file.data
    assert result == await transfer.storage.head(transfer.key)
    assert result.content_type == "video/mp4"
    assert len(transfer.source.requests) == requests
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[0][0] == 0
    assert seen[-1][0] == len(file.data)
    assert unfinished(transfer.client, transfer.key) == []


async def test_ranges_are_pinned_and_cover_the_file_once(transfer: Transfer) -> None:
    await transfer.fetch(SourceFile(DATA))
    asked = sorted(
        tuple(map(int, re.findall(r"\d+", text or ""))) for text in transfer.source.ranges("/v.mp4")
    )
    assert asked == [(0, PART - 1), (PART, 2 * PART - 1), (2 * PART, len(DATA) - 1)]
    assert [headers.get("if-match") for _, headers in transfer.source.requests].count('"v1"') == 2


async def test_a_cut_connection_goes_on_inside_the_part(transfer: Transfer) -> None:
    await transfer.fetch(SourceFile(DATA, cuts=[3 * MIB]))
    assert transfer.stored() == DATA
    starts = [int(re.findall(r"\d+", text or "")[0]) for text in transfer.source.ranges("/v.mp4")]
    again = [start for start in starts if 0 < start < PART]
    assert again == [3 * MIB]
    assert any(headers.get("if-match") for _, headers in transfer.source.requests)


@pytest.mark.parametrize("reset", [False, True])
async def test_many_cuts_and_bad_answers_are_survived(transfer: Transfer, reset: bool) -> None:
    # A reset may swallow what came before it, so that all of them may fall on one read.
    transfer.use(tuning=replace(QUICK, backoff=replace(QUICK.backoff, tries=20)))
    file = SourceFile(
        DATA,
        cuts=[MIB, 2 * MIB, 300_000, 4 * MIB, 700_000, 5, MIB],
        statuses=[503, 0, 429, 0, 500, 0, 0, 502],
        headers={"Retry-After": "0"},
        reset=reset,
    )
    await transfer.fetch(file)
    assert transfer.stored() == DATA


async def test_one_stream_that_breaks_begins_anew(transfer: Transfer) -> None:
    seen: list[int] = []
    await transfer.fetch(
        SourceFile(DATA, ranges=False, cuts=[2 * PART + 1000, MIB]),
        on_progress=lambda done, total: seen.append(done),
    )
    assert transfer.stored() == DATA
    assert len(transfer.source.requests) == 3
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(SourceFile(DATA, ranges=False, cuts=[PART + MIB] * 9), id="stream"),
        pytest.param(SourceFile(DATA, cuts=[1000] * 99), id="ranges"),
        pytest.param(
            SourceFile(DATA, ranges=False, framing="chunked", cuts=[PART + MIB] * 9), id="chunked"
        ),
        pytest.param(SourceFile(DATA, statuses=[503] * 99), id="always 503"),
        pytest.param(SourceFile(raw_head=b"NONSENSE\r\n\r\n"), id="not http"),
        pytest.param(SourceFile(raw_head=b""), id="no answer"),
    ],
)
async def test_a_source_that_never_gets_done_is_given_up(
    transfer: Transfer, file: SourceFile
) -> None:
    with pytest.raises(TransferInterrupted) as caught:
        await transfer.fetch(file)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert len(transfer.source.requests) < 40
    await transfer.nothing_left()


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(SourceFile(OTHER, etag='"v2"'), id="other etag"),
        pytest.param(SourceFile(DATA + b"more"), id="other size"),
    ],
)
async def test_a_source_that_changes_is_refused(transfer: Transfer, changed: SourceFile) -> None:
    file = SourceFile(DATA, change_after=2, changed=changed)
    with pytest.raises(SourceRefused) as caught:
        await transfer.fetch(file)
    assert caught.value.code == "source_changed"
    await transfer.nothing_left()


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_links_that_ran_out(transfer: Transfer, status: int) -> None:
    with pytest.raises(LinkExpired) as caught:
        await transfer.fetch(SourceFile(DATA, statuses=[status]))
    assert "secret" not in str(caught.value)
    assert len(transfer.source.requests) == 1


async def test_a_link_that_runs_out_under_way(transfer: Transfer) -> None:
    with pytest.raises(LinkExpired):
        await transfer.fetch(SourceFile(DATA, statuses=[0, 0, 403]))
    await transfer.nothing_left()


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (SourceFile(DATA, statuses=[400]), "http_400"),
        (SourceFile(DATA, statuses=[451]), "http_451"),
        (SourceFile(b""), "empty"),
        (SourceFile(b"", ranges=False), "empty"),
        (SourceFile(b"", ranges=False, framing="chunked"), "empty"),
        (SourceFile(SMALL, ranges=False, framing="close"), "length_unknown"),
        (SourceFile(SMALL, headers={"Content-Encoding": "gzip"}), "content_encoding"),
        (SourceFile(raw_head=b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), "length_unknown"),
        (SourceFile(raw_head=b"HTTP/1.1 200 OK\r\nContent-Length: 1e9\r\n\r\n"), "length_unknown"),
        (
            SourceFile(
                raw_head=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
            ),
            "length_unknown",
        ),
        (
            SourceFile(raw_head=b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 17 + b"\r\n\r\n"),
            "too_large",
        ),
        (
            SourceFile(
                raw_head=b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 9-5/3\r\n"
                b"Content-Length: 1\r\n\r\n"
            ),
            "no_range",
        ),
    ],
)
async def test_answers_that_cannot_be_used(transfer: Transfer, file: SourceFile, code: str) -> None:
    with pytest.raises(SourceRefused) as caught:
        await transfer.fetch(file)
    assert caught.value.code == code
    await transfer.nothing_left()


async def test_headers_without_end_are_cut_off(transfer: Transfer) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(500)) + b"\r\n"
    with pytest.raises(TransferInterrupted):
        await transfer.fetch(SourceFile(raw_head=head))


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(SourceFile(DATA), id="told"),
        pytest.param(SourceFile(DATA, ranges=False), id="told, one stream"),
        pytest.param(SourceFile(DATA, ranges=False, framing="chunked"), id="not told"),
    ],
)
async def test_a_file_that_is_too_large_is_refused(transfer: Transfer, file: SourceFile) -> None:
    transfer.use(max_bytes=2 * PART)
    with pytest.raises(SourceRefused) as caught:
        await transfer.fetch(file)
    assert caught.value.code == "too_large"
    await transfer.nothing_left()


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_the_promised_size_is_compared(transfer: Transfer, framing: str) -> None:
    file = SourceFile(SMALL, ranges=False, framing=framing)
    with pytest.raises(TransferInterrupted) as caught:
        await transfer.fetch(file, expected_size=len(SMALL) + 1)
    assert caught.value.code == "wrong_size"
    await transfer.nothing_left()
    assert (await transfer.fetch(file, expected_size=len(SMALL))).size == len(SMALL)


async def test_a_private_address_is_refused_by_default(transfer: Transfer) -> None:
    transfer.use(gate=None)
    with pytest.raises(SourceRefused):
        await transfer.fetch(SourceFile(SMALL))
    assert transfer.source.requests == []


async def test_a_content_type_can_be_set_and_nonsense_is_not_taken_over(transfer: Transfer) -> None:
    odd, none = (SourceFile(SMALL, content_type=of) for of in ("text/html; <b>", "no such type"))
    assert (await transfer.fetch(odd, content_type="audio/wav")).content_type == "audio/wav"
    assert (await transfer.fetch(odd)).content_type == "text/html"
    assert (await transfer.fetch(none)).content_type == "application/octet-stream"


async def wait_until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 10)


@pytest.mark.parametrize("ranges", [True, False])
async def test_cancelling_ends_a_stalled_transfer_at_once(transfer: Transfer, ranges: bool) -> None:
    file = SourceFile(DATA, ranges=ranges, stall_after=2 * PART if not ranges else MIB)
    task = asyncio.create_task(transfer.fetch(file))
    await wait_until(transfer.source.stalled)
    begun = asyncio.get_running_loop().time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.get_running_loop().time() - begun < 5
    await transfer.nothing_left()


async def test_a_stop_order_ends_a_stalled_transfer(transfer: Transfer) -> None:
    signal = StopSignal()
    with use_stop(signal):
        task = asyncio.create_task(transfer.fetch(SourceFile(DATA, stall_after=MIB)))
    await wait_until(transfer.source.stalled)
    signal.set(StopReason.HANDOVER)
    with pytest.raises(Stopped) as caught:
        await asyncio.wait_for(task, 5)
    assert caught.value.reason is StopReason.HANDOVER
    await transfer.nothing_left()


async def test_a_stalled_source_meets_the_deadline(transfer: Transfer) -> None:
    with pytest.raises(DeadlineExceeded):
        await asyncio.wait_for(transfer.fetch(SourceFile(DATA, stall_after=MIB), deadline=0.5), 5)
    await transfer.nothing_left()


async def test_a_silent_source_meets_the_read_timeout(transfer: Transfer) -> None:
    transfer.use(gate=Gate(allow_private=True, read_timeout=0.1))
    with pytest.raises(TransferInterrupted):
        await asyncio.wait_for(transfer.fetch(SourceFile(SMALL, stall_after=0)), 10)


async def test_an_upload_left_by_a_killed_process_is_removed(
    transfer: Transfer, s3_client: S3Client, key: str
) -> None:
    left = s3_client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    neighbour = s3_client.create_multipart_upload(Bucket=BUCKET, Key=key + ".old")["UploadId"]
    assert unfinished(s3_client, key) == [left]
    await transfer.fetch(SourceFile(DATA))
    assert unfinished(s3_client, key) == []
    assert unfinished(s3_client, key + ".old") == [neighbour]
    assert transfer.stored() == DATA


async def test_the_old_object_stays_until_the_new_one_is_whole(transfer: Transfer) -> None:
    await transfer.storage.put_bytes(transfer.key, b"old")
    with pytest.raises(TransferInterrupted):
        await transfer.fetch(SourceFile(DATA, ranges=False, cuts=[2 * PART] * 9))
    assert transfer.stored() == b"old"


async def test_a_failing_bucket_leaves_nothing(
    transfer: Transfer, once_client: S3Client, faults: Callable[..., None]
) -> None:
    transfer.use(client=once_client)
    faults({"call": "upload_part", "kind": "503_slow_down", "match": {"key": transfer.key}})
    with pytest.raises(StorageUnavailable):
        await transfer.fetch(SourceFile(DATA))
    await transfer.nothing_left()


async def test_a_lost_answer_to_the_completion_is_looked_after(
    transfer: Transfer, once_client: S3Client, faults: Callable[..., None]
) -> None:
    transfer.use(client=once_client)
    faults(
        {"call": "complete_multipart_upload", "kind": "lost_answer", "match": {"key": transfer.key}}
    )
    result = await transfer.fetch(SourceFile(DATA))
    assert result.size == len(DATA)
    assert transfer.stored() == DATA


@pytest.mark.parametrize("kind", ["500", "200_error", "drop_connection"])
async def test_a_completion_that_fails_leaves_nothing(
    transfer: Transfer, once_client: S3Client, faults: Callable[..., None], kind: str
) -> None:
    transfer.use(client=once_client)
    faults({"call": "complete_multipart_upload", "kind": kind, "match": {"key": transfer.key}})
    with pytest.raises(StorageUnavailable):
        await transfer.fetch(SourceFile(DATA))
    await transfer.nothing_left()


async def test_a_callback_that_raises_ends_the_transfer(transfer: Transfer) -> None:
    def broken(done: int, total: int | None) -> None:
        if done:
            raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError):
        await transfer.fetch(SourceFile(DATA), on_progress=broken)
        pytest.fail("the error of the callback was swallowed")
    await transfer.nothing_left()


async def test_transfers_at_the_same_time_are_bounded(
    storage: Storage, source: SourceServer, key: str
) -> None:
    url = source.add("/v.mp4", SourceFile(DATA, ranges=False, stall_after=0))
    tasks = [asyncio.create_task(storage.fetch(url, f"{key}{n}")) for n in range(30)]
    await wait_until(source.stalled)
    # Small calls do not queue behind the stalled transfers.
    assert await asyncio.wait_for(storage.head(key), 5) is None
    assert len(source.requests) <= 4
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, asyncio.CancelledError)
    assert len(source.requests) <= 4
