"""Stored objects survive restarts and kills, and nothing is ever stored in part."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.common.server import RunningServer
from tests.sandbox.control import emulator_to_kill, wait_until
from tests.sandbox.s3.raw import ACCESS_KEY, SECRET_KEY, Raw, sign_headers
from tests.sandbox.s3.test_protocol import conversation, put_head

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART = os.urandom(5 * 1024 * 1024)


def files(folder: Path) -> list[Path]:
    """The bodies, whole and in progress."""
    return [
        path
        for name in ("bodies", "incoming")
        for path in (folder / name).rglob("*")
        if path.is_file()
    ]


@contextmanager
def process(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], Raw]]:
    """The server as a process of its own; killed at the end if it still runs."""
    keys = (f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}")
    with emulator_to_kill("s3", data_dir.parent, *keys) as (child, url):
        yield child, Raw(url)


def test_everything_survives_a_restart(
    serve: Callable[..., RunningServer], connect: Callable[[RunningServer], S3Client]
) -> None:
    server = serve()
    client = connect(server)
    client.create_bucket(Bucket="bucket")
    client.put_object(
        Bucket="bucket", Key="a/ü", Body=b"data", ContentType="video/mp4", Metadata={"x": "y"}
    )
    head = client.head_object(Bucket="bucket", Key="a/ü", ChecksumMode="ENABLED")
    upload = client.create_multipart_upload(Bucket="bucket", Key="big", ChecksumAlgorithm="CRC32")[
        "UploadId"
    ]
    part = client.upload_part(Bucket="bucket", Key="big", UploadId=upload, PartNumber=1, Body=PART)
    server.close()
    client = connect(serve())
    again = client.head_object(Bucket="bucket", Key="a/ü", ChecksumMode="ENABLED")
    for name in ("ETag", "LastModified", "ContentType", "Metadata", "ChecksumCRC32"):
        assert again[name] == head[name]
    assert client.get_object(Bucket="bucket", Key="a/ü")["Body"].read() == b"data"
    named = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}
    client.complete_multipart_upload(
        Bucket="bucket",
        Key="big",
        UploadId=upload,
        MultipartUpload={"Parts": [named]},  # type: ignore[list-item]
    )
    assert client.get_object(Bucket="bucket", Key="big")["Body"].read() == PART


def test_a_client_that_goes_away_leaves_the_old_object(
    serve: Callable[..., RunningServer], tmp_path: Path
) -> None:
    raw = Raw(serve().url)
    raw.signed("PUT", "/bucket", b"")
    raw.signed("PUT", "/bucket/k", b"old")
    stored = files(tmp_path / "data")
    assert len(stored) == 1
    with conversation(raw, put_head(raw, "/bucket/k", 1_000_000) + bytes(300_000)):
        wait_until(lambda: len(files(tmp_path / "data")) == 2)
        assert raw.signed("GET", "/bucket/k").body == b"old"
    wait_until(lambda: files(tmp_path / "data") == stored)
    assert raw.signed("GET", "/bucket/k").body == b"old"


def test_replaced_deleted_and_aborted_bodies_leave_no_files(
    serve: Callable[..., RunningServer],
    connect: Callable[[RunningServer], S3Client],
    tmp_path: Path,
) -> None:
    client = connect(serve())
    client.create_bucket(Bucket="bucket")
    for body in (b"1", b"2"):
        client.put_object(Bucket="bucket", Key="k", Body=body)
    client.copy_object(Bucket="bucket", Key="copy", CopySource="bucket/k")
    client.delete_object(Bucket="bucket", Key="k")
    assert client.get_object(Bucket="bucket", Key="copy")["Body"].read() == b"2"
    client.delete_object(Bucket="bucket", Key="copy")
    upload = client.create_multipart_upload(Bucket="bucket", Key="k")["UploadId"]
    for body in (b"1", b"2"):
        client.upload_part(Bucket="bucket", Key="k", UploadId=upload, PartNumber=1, Body=body)
    assert len(files(tmp_path / "data")) == 1
    client.abort_multipart_upload(Bucket="bucket", Key="k", UploadId=upload)
    assert files(tmp_path / "data") == []


def test_a_killed_server_keeps_what_it_confirmed(tmp_path: Path) -> None:
    folder = tmp_path / "s3"
    with process(folder) as (child, raw):
        assert raw.signed("PUT", "/bucket", b"").status == 200
        assert raw.signed("PUT", "/bucket/k", b"old").status == 200
        with conversation(raw, put_head(raw, "/bucket/k", 50_000_000)) as sock:
            sock.sendall(bytes(20_000_000))
            wait_until(lambda: sum(path.stat().st_size for path in files(folder)) > 10_000_000)
            child.send_signal(signal.SIGKILL)
            child.wait()
        assert len(files(folder)) == 2
    (folder / "bodies" / "ab").mkdir(exist_ok=True)
    (folder / "bodies" / "ab" / "stray").write_bytes(b"moved here, but never committed")
    with process(folder) as (child, raw):
        assert raw.signed("GET", "/bucket/k").body == b"old"
        assert len(files(folder)) == 1
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=10) == 0


def test_kills_in_the_middle_of_writes_never_show_a_partial_object(tmp_path: Path) -> None:
    folder = tmp_path / "s3"
    confirmed = [0]
    for _ in range(3):
        with process(folder) as (child, raw):
            if confirmed == [0]:
                raw.signed("PUT", "/bucket", b"")
                raw.signed("PUT", "/bucket/k", bytes(100_000))
            writer = threading.Thread(target=write_on, args=(raw, confirmed))
            begun = confirmed[-1]
            writer.start()
            wait_until(lambda begun=begun: confirmed[-1] >= begun + 5)  # type: ignore[misc]
            child.send_signal(signal.SIGKILL)
            child.wait()
            writer.join()
        with process(folder) as (_, raw):
            found = raw.signed("GET", "/bucket/k").body
        # The last write that was answered, or the one that was under way.
        assert len(found) == 100_000
        assert len(set(found)) == 1
        assert found[0] in (confirmed[-1] % 250, (confirmed[-1] + 1) % 250)
        confirmed.append(confirmed[-1] + 1)


def write_on(raw: Raw, confirmed: list[int]) -> None:
    """Writes ever new content, and notes what was confirmed, until the server is gone."""
    try:
        while True:
            number = confirmed[-1] + 1
            body = bytes([number % 250]) * 100_000
            assert raw.signed("PUT", "/bucket/k", body).status == 200
            confirmed.append(number)
    except (OSError, http.client.HTTPException):
        return


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_object(tmp_path: Path) -> None:
    size = 96 * 1024 * 1024
    with process(tmp_path / "s3") as (child, raw):
        raw.signed("PUT", "/bucket", b"")
        before = peak_memory(child.pid)
        with conversation(raw, put_head(raw, "/bucket/k", size)) as sock:
            block = bytes(1024 * 1024)
            for _ in range(size // len(block)):
                sock.sendall(block)
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
        connection = raw.connect()
        connection.request(
            "GET", "/bucket/k", headers=sign_headers("GET", raw.host, "/bucket/k").headers
        )
        answer = connection.getresponse()
        received = 0
        while data := answer.read(1024 * 1024):
            received += len(data)
        connection.close()
        assert received == size
        assert peak_memory(child.pid) - before < 12 * 1024 * 1024


def peak_memory(pid: int) -> int:
    """The largest resident size of a process so far, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
