"""A bucket on the sandbox's own S3 server, and a source server that misbehaves on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from pro_video.storage import Storage, Workers, make_client
from sandbox.s3 import start_s3
from tests.pro_video.source_server import SourceServer, serving
from tests.pro_video.storage_kit import BUCKET, LOCAL, QUICK

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="session")
def s3_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Client]:
    """A client of a running S3 server with the bucket in place."""
    with start_s3(
        tmp_path_factory.mktemp("s3"),
        host="127.0.0.1",
        port=0,
        access_key="test-access-key",
        secret_key="test-secret-key",
        region="eu-central-1",
    ) as server:
        client = make_client(
            endpoint_url=server.endpoint_url,
            region="eu-central-1",
            access_key="test-access-key",
            secret_key="test-secret-key",
        )
        client.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield client
        client.close()


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
        settings = {"gate": LOCAL, "tuning": QUICK, "workers": storage_workers} | options
        return Storage(s3_client, BUCKET, **settings)  # type: ignore[arg-type]

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
