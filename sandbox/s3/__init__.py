"""An S3 server whose data survives a restart."""

from sandbox.s3.app import create_app, start_s3

__all__ = ["create_app", "start_s3"]
