"""An S3 server on the standard library alone, whose data survives a restart."""

from sandbox.s3.cli import add_arguments, main
from sandbox.s3.server import DataDirInUse, S3Server, run, start_s3

__all__ = ["DataDirInUse", "S3Server", "add_arguments", "main", "run", "start_s3"]
