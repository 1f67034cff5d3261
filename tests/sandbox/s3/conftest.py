"""A real server on loopback, and clients for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from sandbox.common.server import RunningServer
from sandbox.s3 import start_s3
from tests.sandbox.s3.raw import ACCESS_KEY, REGION, SECRET_KEY, Raw

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS: dict[str, Any] = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
_SESSION = boto3.Session(
    aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name=REGION
)


def make_client(endpoint_url: str) -> S3Client:
    """A boto3 client with path addressing."""
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 1},
        read_timeout=20,
    )
    return _SESSION.client("s3", endpoint_url=endpoint_url, config=config)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for the tests that need no special one; each uses a bucket of its own."""
    with start_s3(tmp_path_factory.mktemp("s3"), **KEYS) as server:
        yield server


@pytest.fixture(scope="session")
def client(shared_server: RunningServer) -> Iterator[S3Client]:
    with closing(make_client(shared_server.url)) as client:
        yield client


@pytest.fixture
def raw(shared_server: RunningServer) -> Raw:
    return Raw(shared_server.url)


_counter = iter(range(1_000_000))


@pytest.fixture
def bucket(client: S3Client) -> str:
    name = f"bucket-{next(_counter)}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Starts a server of the test's own with `start_s3`'s options; closed afterwards."""
    with ExitStack() as stack:

        def start(**options: Any) -> RunningServer:
            return stack.enter_context(start_s3(tmp_path / "data", **KEYS, **options))

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[[RunningServer], S3Client]]:
    """A boto3 client for a server; closed afterwards, so that no socket is left open."""
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(closing(make_client(server.url)))
