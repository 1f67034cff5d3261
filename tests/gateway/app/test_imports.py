"""Modules that the gateway does not load: it is a small process beside the workers."""

from __future__ import annotations

import subprocess
import sys

# libav with its Python parts; prefect-aws, which brings its ECS worker and a second HTTP client.
HEAVY = ("av", "numpy", "PIL", "prefect_aws", "aiobotocore", "aiohttp")


def test_the_gateway_loads_neither_media_libraries_nor_prefect_aws() -> None:
    code = (
        "import sys, gateway.__main__\n"
        "sys.stdout.write(' '.join({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=90, check=True
    )
    loaded = set(done.stdout.split())
    assert "gateway" in loaded
    assert loaded.isdisjoint(HEAVY), sorted(loaded & set(HEAVY))
