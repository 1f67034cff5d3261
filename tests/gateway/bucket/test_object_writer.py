"""Files that arrive bit by bit, written in parts out of buffers that are used again."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import random
import time
from typing import TYPE_CHECKING

import pytest

from gateway.bucket.object_writer import PART_SIZE, ObjectWriter, _PartBuffer
from pro_video.s3.objects import Target
from tests.gateway.gateways import BUCKET

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PIECE = 200_003


def writer_of(s3: S3Client, key: str) -> ObjectWriter:
    target = Target(s3, BUCKET, key, "video/mp4")
    return ObjectWriter(target, max_bytes=100 * PART_SIZE, name="file")


@pytest.mark.parametrize(
    "size", [1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1, 2 * PART_SIZE, 3 * PART_SIZE + 17]
)
async def test_every_byte_arrives_in_its_place(size: int, s3_client: S3Client) -> None:
    content = random.Random(size).randbytes(size)
    writer = writer_of(s3_client, f"writer/{size}.mp4")
    for begin in range(0, size, _PIECE):
        await writer.write(content[begin : begin + _PIECE])
    await writer.finish()
    stored = s3_client.get_object(Bucket=BUCKET, Key=f"writer/{size}.mp4")["Body"].read()
    assert stored == content
    assert (writer.size, writer.sha256) == (size, hashlib.sha256(content).hexdigest())


async def test_a_piece_may_be_larger_than_a_part(s3_client: S3Client) -> None:
    content = random.Random(7).randbytes(2 * PART_SIZE + 5)
    writer = writer_of(s3_client, "writer/one-piece.mp4")
    await writer.write(content)
    await writer.finish()
    stored = s3_client.get_object(Bucket=BUCKET, Key="writer/one-piece.mp4")["Body"].read()
    assert stored == content


async def test_two_buffers_are_enough_for_any_file(s3_client: S3Client) -> None:
    def buffers() -> int:
        return sum(isinstance(one, _PartBuffer) for one in gc.get_objects())

    gc.collect()
    before = buffers()
    writer = writer_of(s3_client, "writer/large.mp4")
    most = 0
    for _ in range(6):
        await writer.write(bytes(PART_SIZE))
        most = max(most, buffers() - before)
    await writer.finish()
    assert most == 2
    del writer
    # A thread may hold the last of its work for a moment after it was done.
    deadline = time.monotonic() + 10
    while buffers() > before and time.monotonic() < deadline:
        gc.collect()
        await asyncio.sleep(0.01)
    assert buffers() == before
