"""A bucket on the sandbox's own S3 server, and a source server that misbehaves on request."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
from botocore.config import Config

from pro_video.s3.storage import Storage, Workers, client_config
from tests.support.source_server import SourceServer, serving
from tests.support.storage import ACCESS_KEY, BUCKET, LOCAL, QUICK, REGION, SECRET_KEY, running_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, S3Client]]:
    with running_s3(tmp_path_factory.mktemp("s3"), REGION) as (url, client):
        client.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        yield url, client


@pytest.fixture(scope="session")
def s3_endpoint(s3_server: tuple[str, S3Client]) -> str:
    return s3_server[0]


@pytest.fixture(scope="session")
def s3_client(s3_server: tuple[str, S3Client]) -> S3Client:
    return s3_server[1]


@pytest.fixture(scope="session")
def once_client(s3_endpoint: str, s3_client: S3Client) -> Iterator[S3Client]:
    """A client that tries each call once, so that a fault is seen as it is."""
    config = client_config(s3_endpoint) | {"retries": {"mode": "standard", "total_max_attempts": 1}}
    client = boto3.session.Session(
        aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name=REGION
    ).client("s3", endpoint_url=s3_endpoint, config=Config(**config))
    yield client
    client.close()


@pytest.fixture
def faults(s3_endpoint: str) -> Iterator[Callable[..., None]]:
    """Queue faults of the S3 server; what is left of them goes at the end."""
    control = f"{s3_endpoint}/_sandbox/faults"

    def queue(*descriptions: dict[str, object]) -> None:
        httpx.put(control, json={"faults": descriptions}).raise_for_status()

    yield queue
    httpx.delete(control).raise_for_status()


@pytest.fixture
def key() -> str:
    """A key of its own for each test."""
    return f"jobs/{uuid.uuid4()}/video.mp4"


@pytest.fixture(scope="session")
def storage_workers() -> Iterator[Workers]:
    """Threads that are given back at the end."""
    workers = Workers(transfers=4, calls=4)
    yield workers
    workers.close()


@pytest.fixture
def make_storage(s3_client: S3Client, storage_workers: Workers) -> Callable[..., Storage]:
    """Storages on the test bucket; keyword arguments as of :class:`Storage`."""

    def make(**options: object) -> Storage:
        settings: dict[str, Any] = {
            "client": s3_client,
            "bucket": BUCKET,
            "gate": LOCAL,
            "tuning": QUICK,
            "workers": storage_workers,
        }
        return Storage(**(settings | options))

    return make


@pytest.fixture
def storage(make_storage: Callable[..., Storage]) -> Storage:
    """A storage on the test bucket with small parts, short pauses and private sources allowed."""
    return make_storage()


@pytest.fixture
def source() -> Iterator[SourceServer]:
    """A source server."""
    with serving() as server:
        yield server
