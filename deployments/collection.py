"""The worker and block types that Prefect finds through the package's entry point."""

from deployments.worker.worker import ProVideoWorker
from tasks.connections.blocks import GhostCutCredentials, SyncSoCredentials

__all__ = ["GhostCutCredentials", "ProVideoWorker", "SyncSoCredentials"]
