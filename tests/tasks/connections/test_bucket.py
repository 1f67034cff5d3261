"""A bucket block is read here as prefect-aws reads it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from prefect_aws.credentials import AwsCredentials
from prefect_aws.s3 import S3Bucket

from pro_video.core.errors import StorageRefused
from pro_video.s3.storage import Storage, client_config
from tasks.connections import bucket as reading
from tasks.connections.bucket import BucketDocument, storage_of

KEYS: dict[str, Any] = {
    "aws_access_key_id": "an-id",
    "aws_secret_access_key": "a-secret-word",
    "region_name": "eu-central-1",
}
CREDENTIALS: dict[str, dict[str, Any]] = {
    "keys": KEYS,
    "temporary keys": {**KEYS, "aws_session_token": "a-token"},
    "an own server": {
        **KEYS,
        "aws_client_parameters": {
            "endpoint_url": "http://127.0.0.1:9000",
            "config": client_config("http://127.0.0.1:9000"),
        },
    },
    "settings of the client": {
        **KEYS,
        "aws_client_parameters": {
            "config": {"s3": {"addressing_style": "path"}, "read_timeout": 7, "region_name": None}
        },
    },
    "no TLS": {**KEYS, "aws_client_parameters": {"use_ssl": False}},
}
RARE: dict[str, dict[str, Any]] = {
    "no check of certificates": {**KEYS, "aws_client_parameters": {"verify": False}},
    "an API version": {**KEYS, "aws_client_parameters": {"api_version": "2006-03-01"}},
}


def document(credentials: dict[str, Any]) -> BucketDocument:
    """A block as Prefect keeps it: every field is there, and most are null."""
    block = S3Bucket(bucket_name="a-bucket", credentials=AwsCredentials(**credentials))
    content = block.model_dump(mode="json", context={"include_secrets": True})
    content["credentials"].update(
        {name: value for name, value in credentials.items() if isinstance(value, str)}
    )
    return BucketDocument(content)


def described(storage: Storage) -> dict[str, Any]:
    """All that the credentials decide of a client."""
    client: Any = storage._client
    signer = client._request_signer
    found = signer._credentials.get_frozen_credentials()
    return {
        "bucket": storage.bucket,
        "endpoint": client.meta.endpoint_url,
        "region": client.meta.region_name,
        "keys": (found.access_key, found.secret_key, found.token),
        "signature": client.meta.config.signature_version,
        "verify": client._endpoint.http_session._verify,
        "config": {
            name: value
            for name, value in vars(client.meta.config).items()
            if not name.startswith("_") and name != "user_agent_extra"
        },
    }


@pytest.mark.parametrize("name", CREDENTIALS)
def test_what_is_read_here_gives_the_client_of_prefect_aws(name: str) -> None:
    bucket = document(CREDENTIALS[name])
    assert reading._known(bucket) is not None
    theirs = reading._storage(bucket, *reading._read_by_prefect_aws(bucket))
    assert described(storage_of(bucket)) == described(theirs)


@pytest.mark.parametrize("name", RARE)
def test_the_rest_is_left_to_prefect_aws(name: str) -> None:
    bucket = document(RARE[name])
    assert reading._known(bucket) is None
    found = described(storage_of(bucket))
    assert (found["verify"] is False) == (name == "no check of certificates")


def test_a_role_to_assume_is_left_to_prefect_aws() -> None:
    role = {**KEYS, "assume_role_arn": "arn:aws:iam::123456789012:role/jobs"}
    assert reading._known(document(role)) is None


def test_reading_leaves_the_document_as_it_was() -> None:
    bucket = document(RARE["an API version"])
    before = copy.deepcopy(bucket.content)
    storage_of(bucket)
    assert bucket.content == before


def test_credentials_of_minio_are_refused() -> None:
    content = {
        "bucket_name": "a-bucket",
        "credentials": {"minio_root_user": "a-user", "minio_root_password": "a-secret-word"},
    }
    with pytest.raises(StorageRefused, match="AWS Credentials"):
        storage_of(BucketDocument(content))


def test_a_block_that_nobody_understands_is_refused_without_its_content() -> None:
    content = {"bucket_name": "a-bucket", "credentials": {"region_name": ["a-secret-word"]}}
    with pytest.raises(StorageRefused) as caught:
        storage_of(BucketDocument(content))
    assert caught.value.code == "block_invalid"
    assert "a-secret-word" not in str(caught.value)


def test_keys_do_not_show() -> None:
    bucket = document(KEYS)
    assert "a-secret-word" not in repr(bucket)
    assert "a-secret-word" not in repr(reading._known(bucket))
