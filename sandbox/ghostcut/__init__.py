"""A GhostCut on the vendor's wire protocol that removes what is masked and fails on demand."""

from sandbox.ghostcut.app import create_app

__all__ = ["create_app"]
