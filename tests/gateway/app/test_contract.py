"""The running gateway keeps what its OpenAPI document promises, call by call and in sequences.

Schemathesis judges it from outside, with all of its checks and phases, as ``schemathesis run`` does
for anybody; ``schemathesis.toml`` says where a schema cannot say what the rules say.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.gateways import TOKENS, Gateway, Upstream, serving

pytest.importorskip("schemathesis")
pytestmark = pytest.mark.timeout(480)

ROOT = Path(__file__).resolve().parents[3]
# Links that have to be followed; which ones of the many is chance.
_LINKS = 8


@pytest.fixture(scope="module")
def settled() -> Iterator[None]:
    """Streams of jobs without a worker would stay open, and Sync.so is not there to be asked
    for its secret."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRO_VIDEO_GATEWAY_EVENTS_LONGEST_SECONDS", "0.2")
        patch.setenv("PRO_VIDEO_GATEWAY_SYNC_SO_WEBHOOK_SECRETS", "whsec_test")
        yield


def judge(gateway: Gateway, folder: Path, *options: str) -> str:
    """Output of schemathesis when it finds nothing; the run is the same each time."""
    command = [sys.executable, "-m", "schemathesis.cli"]
    command += ["--config-file", str(ROOT / "schemathesis.toml"), "run", "--no-color"]
    command += [f"{gateway.url}/openapi.json", "--seed", "4711", "--continue-on-failure", *options]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.gateway.app.schema_hooks",
        "PYTHONPATH": str(ROOT),
    }
    # In a folder of its own: it keeps what it found for the next run.
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=420
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, text[-3000:]
    return int(found[1])


def test_with_tokens(
    upstream: Upstream, tokens: dict[str, str], settled: None, tmp_path: Path
) -> None:
    with serving(upstream, status_cache_seconds=0.02, token_block=TOKENS) as gateway:
        with gateway.client() as client:
            document: dict[str, Any] = client.get("/openapi.json").json()
        operations = sum(len(path) for path in document["paths"].values())
        token = f"Authorization: Bearer {tokens['anna']}"
        said = judge(gateway, tmp_path, "-H", token, "--max-examples", "5")
    assert number(r"Tested: (\d+)", said) == operations
    assert number(r"API Links: +(\d+) covered", said) >= _LINKS


def test_without_tokens(upstream: Upstream, settled: None, tmp_path: Path) -> None:
    with serving(upstream, status_cache_seconds=0.02) as gateway:
        jobs = ("--include-path", "/api/v1/jobs")
        judge(
            gateway, tmp_path, *jobs, "--phases", "examples,coverage,fuzzing", "--max-examples", "2"
        )


def test_the_document_says_whether_a_token_is_needed(gateway: Gateway, owned: Gateway) -> None:
    for one, optional in ((gateway, True), (owned, False)):
        with one.client() as client:
            paths = client.get("/openapi.json").json()["paths"]
            assert client.get("/docs").status_code == 200
        security = paths["/api/v1/jobs"]["get"]["security"]
        assert ({} in security) is optional
        assert "security" not in paths["/healthz"]["get"]
