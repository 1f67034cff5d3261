"""The AWS command line works against the server as it comes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.common.server import RunningServer
from tests.sandbox.s3.raw import ACCESS_KEY, REGION, SECRET_KEY

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

AWS = Path(sys.executable).with_name("aws")


@pytest.mark.skipif(not AWS.exists(), reason="the AWS command line is not installed")
def test_sync_sends_small_and_large_files(
    shared_server: RunningServer, client: S3Client, bucket: str, tmp_path: Path
) -> None:
    contents = {"small ü.txt": b"text", "folder/large.bin": os.urandom(9_000_000)}
    for name, data in contents.items():
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment |= {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(tmp_path),
        "PYTHONUTF8": "1",
    }
    subprocess.run(
        [str(AWS), "--endpoint-url", shared_server.url, "s3", "sync", "out", f"s3://{bucket}/up"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        timeout=60,
    )  # fmt: skip
    for name, data in contents.items():
        assert client.get_object(Bucket=bucket, Key=f"up/{name}")["Body"].read() == data
    assert client.head_object(Bucket=bucket, Key="up/folder/large.bin")["ETag"].endswith('-2"')
