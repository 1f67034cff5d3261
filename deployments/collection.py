"""What Prefect loads when it looks for worker and block types of installed packages."""

from deployments.worker import ProVideoWorker
from tasks.blocks import GhostCutCredentials, SyncSoCredentials

__all__ = ["GhostCutCredentials", "ProVideoWorker", "SyncSoCredentials"]
