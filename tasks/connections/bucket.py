"""The bucket of the jobs, from the Prefect blocks ``S3 Bucket`` and ``AWS Credentials``.

The blocks are those of prefect-aws, and nothing else names the bucket. The fields that nearly all
blocks use are read here. prefect-aws adds 17 MB to the process with its ECS worker, so that it is
imported only for other fields, such as a role to assume.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

import boto3
from botocore.config import Config
from prefect.exceptions import ObjectNotFound
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from pro_video.core.errors import StorageRefused
from pro_video.core.settings import get_settings
from pro_video.s3.storage import Storage, client_config

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from prefect.client.orchestration import PrefectClient

# Seconds: half the life of an assumed role's keys; a transfer that begins has the other half.
_ROLE_LIFE = 1800.0

_SLUG = "s3-bucket"
_CREDENTIALS_SLUG = "aws-credentials"


@dataclass(frozen=True)
class BucketDocument:
    """The content of an ``S3 Bucket`` block with its credentials; compared by content."""

    content: Mapping[str, Any] = field(repr=False)
    id: UUID | None = field(default=None, compare=False)

    @property
    def folder(self) -> str:
        """Folder of the bucket that the block names; empty for all of it."""
        return str(self.content.get("bucket_folder") or "")

    def is_same_bucket(self, other: BucketDocument) -> bool:
        """Do both name one bucket with the same credentials, perhaps in other folders?"""
        folder = {"bucket_folder": None}
        return {**self.content, **folder} == {**other.content, **folder}

    @property
    def expires(self) -> bool:
        """Are its keys those of an assumed role, which last for an hour?"""
        return bool(self.content.get("credentials", {}).get("assume_role_arn"))


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    use_ssl: bool = True
    endpoint_url: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)


class _Credentials(BaseModel):
    """The fields that need no more than boto3; a block with others does not validate."""

    model_config = ConfigDict(extra="forbid")

    aws_access_key_id: str | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_session_token: SecretStr | None = None
    profile_name: str | None = None
    region_name: str | None = None
    aws_client_parameters: _Parameters = _Parameters()


async def read_bucket(client: PrefectClient, name: str) -> BucketDocument:
    """The ``S3 Bucket`` block of a name.

    Raises:
        StorageRefused: there is none.
        httpx.HTTPError: Prefect does not answer.
    """
    try:
        document = await client.read_block_document_by_name(name, _SLUG)
    except ObjectNotFound:
        raise StorageRefused(
            f"There is no S3 Bucket block named {name}. Make the blocks with "
            "pro-video register, or in Prefect's UI.",
            code="block_missing",
        ) from None
    return BucketDocument(document.data, document.id)


class KeptStorage:
    """The storage of a bucket block, which holds connections and threads: kept while the block is
    unchanged, and replaced before the keys of an assumed role expire.

    Args:
        now: a monotonic clock in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._made_at = float("-inf")
        self._bucket: BucketDocument | None = None
        self._storage: Storage | None = None

    async def of(self, bucket: BucketDocument) -> Storage:
        """The storage behind the block.

        Raises:
            StorageRefused: as :func:`storage_of`.
        """
        now = self._now()
        is_old = bucket.expires and now - self._made_at > _ROLE_LIFE
        if self._storage is None or bucket != self._bucket or is_old:
            self._storage = await asyncio.to_thread(storage_of, bucket)
            self._bucket, self._made_at = bucket, now
        return self._storage


def storage_of(bucket: BucketDocument) -> Storage:
    """The storage behind a bucket block; blocking.

    The client is built here, not by the block, because boto3's defaults sign links with the old
    signature version in some regions. The block's own configuration has precedence.

    Raises:
        StorageRefused: the block holds MinIO credentials, which name no endpoint, or does not
            validate as a block of prefect-aws.
    """
    known = _known(bucket)
    return _storage(bucket, *(_read_here(known) if known else _read_by_prefect_aws(bucket)))


def _storage(bucket: BucketDocument, session: boto3.Session, parameters: dict[str, Any]) -> Storage:
    config = Config(**client_config(parameters.get("endpoint_url")))
    if "config" in parameters:
        config = config.merge(parameters["config"])
    client: S3Client = session.client("s3", **{**parameters, "config": config})
    settings = get_settings()
    return Storage(
        client,
        bucket.content["bucket_name"],
        allow_private=settings.allow_private_addresses,
        max_bytes=settings.max_source_bytes,
    )


def _known(bucket: BucketDocument) -> _Credentials | None:
    """The credentials; None when they have fields that are not read here."""
    given = dict(_without_none(bucket.content.get("credentials", {})))
    if given.get("block_type_slug") == _CREDENTIALS_SLUG:
        del given["block_type_slug"]
    if "assume_role_arn" not in given:
        # These have defaults, and no meaning without a role.
        given.pop("assume_role_kwargs", None)
    try:
        return _Credentials.model_validate(given)
    except ValidationError:
        return None


def _without_none(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        name: _without_none(inner) if name != "config" and isinstance(inner, Mapping) else inner
        for name, inner in value.items()
        if inner is not None
    }


def _read_here(credentials: _Credentials) -> tuple[boto3.Session, dict[str, Any]]:
    session = boto3.Session(
        aws_access_key_id=credentials.aws_access_key_id,
        aws_secret_access_key=_plain(credentials.aws_secret_access_key),
        aws_session_token=_plain(credentials.aws_session_token),
        profile_name=credentials.profile_name,
        region_name=credentials.region_name,
    )
    parameters = credentials.aws_client_parameters.model_dump(exclude_none=True)
    parameters["config"] = Config(**parameters["config"])
    return session, parameters


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def _read_by_prefect_aws(bucket: BucketDocument) -> tuple[boto3.Session, dict[str, Any]]:
    from prefect_aws.credentials import AwsCredentials
    from prefect_aws.s3 import S3Bucket

    try:
        # The validation changes its input.
        block = S3Bucket.model_validate(copy.deepcopy(dict(bucket.content)))
    except ValidationError as error:
        raise StorageRefused(
            f"The S3 Bucket block is invalid: {error.error_count()} fields are wrong. Correct them "
            "in Prefect's UI.",
            code="block_invalid",
        ) from None
    credentials = block.credentials
    if not isinstance(credentials, AwsCredentials):
        raise StorageRefused(
            "The S3 Bucket block needs AWS Credentials; "
            "for another S3 server set their endpoint URL"
        )
    parameters: dict[str, Any] = credentials.aws_client_parameters.get_params_override()
    if credentials.region_name is not None:
        parameters["region_name"] = credentials.region_name
    return credentials.get_boto3_session(), parameters
