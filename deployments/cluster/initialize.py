"""Makes a started cluster usable: bucket, blocks and deployments. Then prints its addresses."""

from __future__ import annotations

import sys

from deployments.cluster.stack import ClusterStack
from deployments.local.initialize import main

if __name__ == "__main__":
    sys.exit(main(ClusterStack))
