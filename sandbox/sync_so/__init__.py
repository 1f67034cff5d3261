"""A Sync.so on this machine: the wire protocol, real media processing, faults on demand.

README.md tells how it differs from the vendor, and its assumptions.
"""

from sandbox.sync_so.app import create_app

__all__ = ["create_app"]
