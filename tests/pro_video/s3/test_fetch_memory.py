"""Memory of a transfer: bounded by the parts under way, whatever the size of the file."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.source_server import SourceFile, SourceServer
from tests.support.storage import ACCESS_KEY, BUCKET, MIB, QUICK, REGION, SECRET_KEY

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SMALL = 24 * MIB
LARGE = 96 * MIB
# A file kept in memory would show as tens of MiB; noise of the allocator does not.
ALLOWED = 12 * MIB

SCRIPT = """
import asyncio, json, resource, sys
from pro_video.s3.storage import Gate, Storage, Tuning, make_client

asked = json.loads(sys.argv[1])
client = make_client(**asked["client"])
storage = Storage(
    client,
    asked["bucket"],
    gate=Gate(allow_private=True),
    tuning=Tuning(part_size=asked["part_size"], workers=asked["workers"]),
)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

async def main():
    for job in asked["jobs"]:
        if job["how"] == "fetch":
            done = await storage.fetch(job["from"], "memory/" + job["name"])
        else:
            done = await storage.put_file(job["from"], "memory/" + job["name"])
        sys.stdout.write(json.dumps([job["name"], done.size, peak()]) + "\\n")

asyncio.run(main())
"""


@pytest.fixture
def large_files(
    source: SourceServer, tmp_path: Path, s3_client: S3Client
) -> Iterator[dict[str, str]]:
    block = os.urandom(MIB)
    for name, size in (("small", SMALL), ("large", LARGE)):
        source.add(f"/{name}", SourceFile(block * (size // MIB)))
        source.add(f"/{name}-stream", SourceFile(block * (size // MIB), ranges=False))
        with (tmp_path / name).open("wb") as out:
            for _ in range(size // MIB):
                out.write(block)
    yield {name: str(tmp_path / name) for name in ("small", "large")}
    for entry in s3_client.list_objects_v2(Bucket=BUCKET, Prefix="memory/").get("Contents", []):
        s3_client.delete_object(Bucket=BUCKET, Key=entry["Key"])


async def test_memory_does_not_grow_with_the_file(
    source: SourceServer, s3_client: S3Client, large_files: dict[str, str]
) -> None:
    sizes = {"small": SMALL, "large": LARGE}
    jobs = []
    for size in sizes:
        jobs.append({"name": f"{size} ranged", "how": "fetch", "from": source.url(f"/{size}")})
        stream = source.url(f"/{size}-stream")
        jobs.append({"name": f"{size} stream", "how": "fetch", "from": stream})
        jobs.append({"name": f"{size} file", "how": "put", "from": large_files[size]})
    asked = {
        "client": {
            "endpoint_url": s3_client.meta.endpoint_url,
            "region": REGION,
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
        },
        "bucket": BUCKET,
        "part_size": QUICK.part_size,
        "workers": QUICK.workers,
        "jobs": jobs,
    }
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", SCRIPT, json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert run.returncode == 0, run.stderr
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    assert [size for _, size, _ in rows] == [SMALL] * 3 + [LARGE] * 3
    small, large = rows[2][2], rows[-1][2]
    assert large - small < ALLOWED, rows
