"""A Sync.so on this machine: its wire protocol, real media processing, faults on demand.

It is not a lip-sync model; see README.md beside this file for what it is and what it assumes.
"""

from sandbox.sync_so.app import create_app

__all__ = ["create_app"]
