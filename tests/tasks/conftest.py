"""A bucket on the sandbox's S3 server, and a receiver of webhooks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pro_video.storage import Storage, make_client
from sandbox.s3 import start_s3
from tests.tasks.receiver import Receiver, receiving


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """A storage on a bucket of its own."""
    with start_s3(
        tmp_path_factory.mktemp("s3"),
        host="127.0.0.1",
        port=0,
        access_key="test-access-key",
        secret_key="test-secret-key",
        region="us-east-1",
    ) as server:
        client = make_client(
            endpoint_url=server.endpoint_url,
            region="us-east-1",
            access_key="test-access-key",
            secret_key="test-secret-key",
        )
        client.create_bucket(Bucket="hooks")
        yield Storage(client, "hooks", allow_private=True)
        client.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with receiving() as running:
        yield running
