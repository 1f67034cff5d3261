"""A real server on loopback, and clients for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from sandbox.common.server import RunningServer
from sandbox.s3 import start_s3
from tests.sandbox.s3.raw import ACCESS_KEY, REGION, SECRET_KEY, Raw

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SESSION = boto3.Session(
    aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name=REGION
)


def make_client(endpoint_url: str, **options: object) -> S3Client:
    """A boto3 client with path addressing; `options` are those of the client."""
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 1},
        read_timeout=20,
    )
    return _SESSION.client("s3", endpoint_url=endpoint_url, config=config, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for the tests that need no special one; each uses a bucket of its own."""
    with start_s3(
        tmp_path_factory.mktemp("s3"), access_key=ACCESS_KEY, secret_key=SECRET_KEY
    ) as server:
        yield server


@pytest.fixture(scope="session")
def client(shared_server: RunningServer) -> Iterator[S3Client]:
    client = make_client(shared_server.url)
    yield client
    client.close()


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
    servers: list[RunningServer] = []

    def start(**options: object) -> RunningServer:
        defaults = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        servers.append(start_s3(tmp_path / "data", **(defaults | options)))  # type: ignore[arg-type]
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def connect() -> Iterator[Callable[[RunningServer], S3Client]]:
    """A boto3 client for a server; closed afterwards, so that no socket is left open."""
    clients: list[S3Client] = []

    def make(server: RunningServer) -> S3Client:
        clients.append(make_client(server.url))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
