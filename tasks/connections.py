"""Turns the Prefect blocks into clients: the bucket, Sync.so and GhostCut."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from prefect_aws.credentials import AwsCredentials
from prefect_aws.s3 import S3Bucket

from pro_video.errors import StorageRefused
from pro_video.settings import Settings, get_settings
from pro_video.storage import Storage, client_config
from tasks.blocks import GhostCutCredentials, SyncSoCredentials

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

# A changed key is picked up within this time, in seconds, without a read per task of a thousand
# jobs.
_BLOCK_LIFE = 30.0


@dataclass(frozen=True)
class Connections:
    """What one job talks to."""

    storage: Storage
    sync_so: SyncSoCredentials
    ghostcut: GhostCutCredentials


class _Cache:
    """The connections of jobs with the same settings, read anew from the blocks now and then."""

    def __init__(self) -> None:
        self._loaded_at = float("-inf")
        self._bucket: S3Bucket | None = None
        self._current: Connections | None = None

    async def get(self) -> Connections:
        if self._current is None or time.monotonic() - self._loaded_at > _BLOCK_LIFE:
            bucket, sync_so, ghostcut = await _load(get_settings().block)
            # The bucket's client holds connections and threads: it is kept while its block is
            # unchanged.
            if self._current is not None and bucket == self._bucket:
                storage = self._current.storage
            else:
                storage = storage_of(bucket)
            self._bucket = bucket
            self._current = Connections(storage, sync_so, ghostcut)
            self._loaded_at = time.monotonic()
        return self._current


_caches: dict[Settings, _Cache] = {}


async def _load(name: str) -> tuple[S3Bucket, SyncSoCredentials, GhostCutCredentials]:
    try:
        bucket: S3Bucket = await S3Bucket.aload(name)
        sync_so = await SyncSoCredentials.aload(name)
        ghostcut = await GhostCutCredentials.aload(name)
    except ValueError as error:
        # Prefect's text names the block, and nothing of its content.
        raise StorageRefused(
            f"{error} Make the blocks with python -m deployments.register, or in Prefect's UI.",
            code="block_missing",
        ) from None
    return bucket, sync_so, ghostcut


async def connections() -> Connections:
    """The clients of the blocks named by the setting ``PRO_VIDEO_BLOCK``.

    Raises:
        StorageRefused: naming a block that does not exist.
    """
    return await _caches.setdefault(get_settings(), _Cache()).get()


def storage_of(bucket: S3Bucket) -> Storage:
    """The storage behind a bucket block.

    The client is built here, not taken from the block, because boto3's defaults sign links with
    the old signature version in some regions; what the block's own configuration says wins.

    Raises:
        StorageRefused: the block holds MinIO credentials, whose endpoint it does not know.
    """
    credentials = bucket.credentials
    if not isinstance(credentials, AwsCredentials):
        raise StorageRefused(
            "The S3 Bucket block needs AWS Credentials; "
            "for another S3 server set their endpoint URL"
        )
    parameters: dict[str, Any] = credentials.aws_client_parameters.get_params_override()
    if credentials.region_name is not None:
        parameters["region_name"] = credentials.region_name
    config = Config(**client_config(parameters.get("endpoint_url")))
    if "config" in parameters:
        config = config.merge(parameters["config"])
    parameters["config"] = config
    client: S3Client = credentials.get_boto3_session().client("s3", **parameters)
    settings = get_settings()
    return Storage(
        client,
        bucket.bucket_name,
        allow_private=settings.allow_private_addresses,
        max_bytes=settings.max_source_bytes,
    )
