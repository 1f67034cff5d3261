"""The shared Prefect server and an S3 server, and gateways in front of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.register import register
from deployments.save_blocks import ConnectionSettings
from gateway.auth.token_store import new_token, save_entries
from pro_video.s3.storage import Storage
from tests.gateway.gateways import (
    ACCESS_KEY,
    BUCKET,
    REGION,
    SECRET_KEY,
    TOKENS,
    Gateway,
    Upstream,
    serving,
)
from tests.support.storage import running_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, S3Client]]:
    with running_s3(tmp_path_factory.mktemp("s3"), REGION) as (url, client):
        client.create_bucket(Bucket=BUCKET)
        yield url, client


@pytest.fixture(scope="session")
def s3_endpoint(s3_server: tuple[str, S3Client]) -> str:
    return s3_server[0]


@pytest.fixture(scope="session")
def s3_client(s3_server: tuple[str, S3Client]) -> S3Client:
    return s3_server[1]


@pytest.fixture(scope="session")
def upstream(prefect_api_url: str, s3_endpoint: str, s3_client: S3Client) -> Iterator[Upstream]:
    """Both servers, with blocks and deployments registered."""
    connection = ConnectionSettings.model_validate(
        {
            "s3_bucket": BUCKET,
            "s3_region": REGION,
            "s3_endpoint_url": s3_endpoint,
            "s3_access_key": ACCESS_KEY,
            "s3_secret_key": SECRET_KEY,
            "ghostcut_app_key": "test-app-key",
            "ghostcut_app_secret": "test-app-secret",
        }
    )
    with temporary_settings({PREFECT_API_URL: prefect_api_url}):
        asyncio.run(register(connection))
        yield Upstream(prefect_api_url, Storage(s3_client, BUCKET, allow_private=True), s3_client)


@pytest.fixture(scope="session")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    """A gateway with fresh statuses that serves the local machine."""
    with serving(upstream, status_cache_seconds=0) as running:
        yield running


@pytest.fixture(scope="session")
def owned(upstream: Upstream, tokens: dict[str, str]) -> Iterator[Gateway]:
    """A gateway that wants the tokens of :func:`tokens`."""
    with serving(upstream, status_cache_seconds=0, token_block=TOKENS) as running:
        yield running


@pytest.fixture(scope="session")
def tokens(upstream: Upstream) -> dict[str, str]:
    """A token of each owner."""
    made = {owner: new_token(owner) for owner in ("anna", "ben")}
    asyncio.run(save_entries(TOKENS, [entry for _, entry in made.values()]))
    return {owner: token for owner, (token, _) in made.items()}


@pytest.fixture
def start_gateway(upstream: Upstream) -> Iterator[Callable[..., Gateway]]:
    """Gateways with settings of their own; keyword arguments as of ``GatewaySettings``."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Gateway:
            return stack.enter_context(serving(upstream, **settings))

        yield start
