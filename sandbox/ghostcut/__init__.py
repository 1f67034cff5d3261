"""A GhostCut on this machine: the wire protocol, real text removal, faults on demand.

README.md tells how it differs from the vendor, and its assumptions.
"""

from sandbox.ghostcut.app import create_app

__all__ = ["create_app"]
