"""The client for JavaScript and TypeScript: its types are those of the API, and a scenario."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.test_docs import ROOT

NODE = shutil.which("node")


def test_the_types_are_those_of_the_openapi_document() -> None:
    generator = runpy.run_path(str(ROOT / "clients/typescript/generate.py"))
    assert generator["FILE"].read_text(encoding="utf-8") == generator["types"]()


@background_job
def scenario(resources: Resources) -> dict[str, Any] | None:
    if NODE is None:
        return None
    tiny = resources.tiny
    api = resources.jobs.stack.base_url("gateway")
    done = subprocess.run(
        [NODE, Path(__file__).with_name("scenario.mjs"), api, tiny.clip, tiny.line_1],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.timeout(1000)
@pytest.mark.skipif(NODE is None, reason="there is no node on this machine")
def test_a_job_from_node(background_jobs: BackgroundJobs) -> None:
    found = background_jobs.result(scenario)
    assert found is not None
    for file in (background_jobs.resources.tiny.clip, background_jobs.resources.tiny.line_1):
        size = file.stat().st_size
        assert [0, size] in found["progress"]
        assert [size, size] in found["progress"]
    assert found["isProblem"]
    assert found["problem"]["errors"][0]["field"].startswith("segments_data[0]")
    assert found["conflict"]["code"] == "nothing_to_accept"
    assert float(found["estimate"]["high_usd"]) > 0
    assert [event["progress"] for event in found["events"]][-1] == 100
    assert {event["status"] for event in found["events"][:-1]} == {"processing"}
    assert found["listed"]
    job = found["job"]
    assert (job["status"], job["display_name"]) == ("completed", "From Node")
    link = httpx.get(job["output_url"], trust_env=False).raise_for_status()
    key = f"jobs/{job['job_id']}/pro_sync_result_{job['job_id']}.mp4"
    assert link.content == background_jobs.resources.jobs.object(key)
    assert background_jobs.resources.jobs.paid(job["job_id"])["sync_so"] == (1, 1)
