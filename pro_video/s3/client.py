"""Configuration of S3 clients, for AWS and for any other S3 server."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def client_config(endpoint_url: str | None) -> dict[str, Any]:
    """Keyword arguments of :class:`botocore.config.Config`, also for the ``config`` of prefect-aws.

    - SigV4 always: in some regions boto3 otherwise presigns with the retired SigV2, in others for
      the global host, whose redirect breaks the signature. Virtual-host addressing selects the
      regional host; other servers take paths.
    - Bodies are covered by a CRC32 that we send, not by the SHA-256 that boto3 adds over http.
    - Checksums of responses are compared by us, where a whole object is read.

    Args:
        endpoint_url: address of an S3 server that is not AWS; ``None`` for AWS.
    """
    return {
        "signature_version": "s3v4",
        "s3": {
            "addressing_style": "virtual" if endpoint_url is None else "path",
            "payload_signing_enabled": False,
        },
        "retries": {"mode": "standard", "total_max_attempts": 5},
        "connect_timeout": 10,
        "read_timeout": 60,
        "tcp_keepalive": True,
        "max_pool_connections": 32,
        "response_checksum_validation": "when_required",
    }


def make_client(
    *, endpoint_url: str | None, region: str, access_key: str, secret_key: str
) -> S3Client:
    """An S3 client for tests and tools; jobs take theirs from the credentials block."""
    return _session().client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=region,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(**client_config(endpoint_url)),
    )


@lru_cache(maxsize=1)
def _session() -> boto3.session.Session:
    """One for the process: each loads boto3's models anew, which takes half a second."""
    return boto3.session.Session()
