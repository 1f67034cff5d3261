"""``make up-cluster``: the whole cluster in the foreground; Ctrl-C stops all of it."""

from __future__ import annotations

import sys

from deployments.cluster.stack import ClusterStack
from deployments.local.up import run_stack


def main() -> int:
    """Entry of ``pro-video up-cluster`` and ``python -m deployments.cluster.up``."""
    return run_stack(ClusterStack, __doc__)


if __name__ == "__main__":
    sys.exit(main())
