"""Saves blocks to Prefect with values from the environment."""

from __future__ import annotations

from typing import Self

from prefect_aws.client_parameters import AwsClientParameters
from prefect_aws.credentials import AwsCredentials
from prefect_aws.s3 import S3Bucket
from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pro_video.core.settings import get_settings
from pro_video.s3.storage import client_config
from tasks.connections.blocks import GhostCutCredentials, SyncSoCredentials
from tasks.connections.bucket import BucketDocument
from tasks.connections.bucket_proof import RECORDS, prove_document


class ConnectionSettings(BaseSettings):
    """Addresses and keys of S3 and the providers.

    Each field is the environment variable ``PRO_VIDEO_<FIELD>``. A block without given variables
    stays in Prefect as it is, and may be filled in by hand.
    """

    model_config = SettingsConfigDict(env_prefix="PRO_VIDEO_", extra="ignore")

    s3_bucket: str | None = Field(None, description="Name of the bucket.")
    s3_region: str | None = Field(None, description="Region of the bucket.")
    s3_endpoint_url: str | None = Field(None, description="Address of an S3 other than AWS.")
    s3_access_key: str | None = Field(None, description="Access key; none: the machine's role.")
    s3_secret_key: SecretStr | None = Field(None, description="Secret key.")
    sync_so_api_key: SecretStr | None = Field(None, description="API key of Sync.so.")
    sync_so_base_url: str = Field("https://api.sync.so", description="Address of Sync.so.")
    ghostcut_app_key: str | None = Field(None, description="App key of GhostCut.")
    ghostcut_app_secret: SecretStr | None = Field(None, description="App secret of GhostCut.")
    ghostcut_base_url: str = Field("https://api.zhaoli.com", description="Address of GhostCut.")

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("PRO_VIDEO_S3_ACCESS_KEY and PRO_VIDEO_S3_SECRET_KEY go together")
        if (self.ghostcut_app_key is None) != (self.ghostcut_app_secret is None):
            raise ValueError(
                "PRO_VIDEO_GHOSTCUT_APP_KEY and PRO_VIDEO_GHOSTCUT_APP_SECRET go together"
            )
        return self


async def prove_given(connection: ConnectionSettings) -> None:
    """Check the given bucket before any block names it.

    Raises:
        StorageRefused: it fails a check that jobs rely on, or refuses the keys.
        TransientError: S3 does not answer.
    """
    if connection.s3_bucket is None:
        return
    secret = connection.s3_secret_key
    credentials = {
        "aws_access_key_id": connection.s3_access_key,
        "aws_secret_access_key": secret.get_secret_value() if secret else None,
        "region_name": connection.s3_region,
        "aws_client_parameters": {
            "endpoint_url": connection.s3_endpoint_url,
            "config": client_config(connection.s3_endpoint_url),
        },
    }
    document = BucketDocument({"bucket_name": connection.s3_bucket, "credentials": credentials})
    # Jobs and Prefect keep their records in one folder of the bucket.
    await prove_document(document, RECORDS)


async def save_blocks(connection: ConnectionSettings) -> None:
    """Register the block types, and save the blocks with given values."""
    for block in (AwsCredentials, S3Bucket, SyncSoCredentials, GhostCutCredentials):
        await block.aregister_type_and_schema()
    name = get_settings().block
    if connection.s3_bucket is not None:
        await _save_bucket(connection, connection.s3_bucket, name)
    if connection.sync_so_api_key is not None:
        await SyncSoCredentials(
            api_key=connection.sync_so_api_key, base_url=connection.sync_so_base_url
        ).asave(name, overwrite=True)
    if connection.ghostcut_app_key is not None and connection.ghostcut_app_secret is not None:
        await GhostCutCredentials(
            app_key=connection.ghostcut_app_key,
            app_secret=connection.ghostcut_app_secret,
            base_url=connection.ghostcut_base_url,
        ).asave(name, overwrite=True)


async def _save_bucket(connection: ConnectionSettings, bucket: str, name: str) -> None:
    credentials = AwsCredentials(
        aws_access_key_id=connection.s3_access_key,
        aws_secret_access_key=connection.s3_secret_key,
        region_name=connection.s3_region,
        aws_client_parameters=AwsClientParameters(
            endpoint_url=connection.s3_endpoint_url,
            config=client_config(connection.s3_endpoint_url),
        ),
    )
    await credentials.asave(name, overwrite=True)
    await S3Bucket(bucket_name=bucket, credentials=credentials).asave(name, overwrite=True)
    # Prefect's persisted results.
    await S3Bucket(bucket_name=bucket, credentials=credentials, bucket_folder=RECORDS).asave(
        f"{name}-results", overwrite=True
    )
