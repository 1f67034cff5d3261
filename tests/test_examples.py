"""The programs of ``examples``, called as their README says, against the shared stack."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sandbox.media.sample.make_sample import make_sample
from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.jobs import Jobs
from tests.test_docs import ROOT, commands_of

pytestmark = pytest.mark.timeout(1000)

# The address of the HTTP API in the README.
API = "http://127.0.0.1:4204"


@dataclass(frozen=True)
class Ended:
    """The programs, ended: their output by their names."""

    jobs: Jobs
    folder: Path
    output: dict[str, str]


@background_job
def all_programs(resources: Resources) -> Ended:
    stack = resources.jobs.stack
    folder = resources.folder / "examples"
    # As long as the one that the README makes, but quicker to process.
    make_sample(folder / "out/sample", width=160, height=90, seconds=8.0)
    environment = {
        **stack.environment(),
        "PREFECT_API_URL": stack.api_url,
        "PREFECT_HOME": str(folder / "prefect"),
    }
    begun = {
        Path(program).stem: subprocess.Popen(
            [sys.executable, ROOT / program, *(api_of(stack.description, each) for each in rest)],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for program, *rest in programs()
    }
    output = {name: process.communicate(timeout=600)[0] for name, process in begun.items()}
    assert [process.returncode for process in begun.values()] == [0, 0, 0], output
    return Ended(resources.jobs, folder, output)


def programs() -> list[tuple[str, ...]]:
    """The commands of the README that run an example, from its name on."""
    commands = [command.words for command in commands_of(ROOT / "examples/README.md")]
    return [words[1:] for words in commands if words[1].startswith("examples/")]


def api_of(description: dict[str, object], word: str) -> str:
    gateway = description["gateway"]
    assert isinstance(gateway, dict)
    return str(gateway["base_url"]) if word == API else word


@pytest.fixture(scope="module")
def ended(background_jobs: BackgroundJobs) -> Ended:
    """All programs, ended."""
    return background_jobs.result(all_programs)


def job_of(output: str) -> str:
    found = re.search(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", output)
    assert found, output
    return found[0]


def linked(output: str) -> bytes:
    """The file behind the link that a program printed."""
    found = re.search(r"https?://\S+", output)
    assert found, output
    return httpx.get(found[0], trust_env=False).raise_for_status().content


def test_a_job_by_prefects_client(ended: Ended) -> None:
    output = ended.output["run_with_prefect"]
    assert "Completed: Pro video processing completed (lip-sync only)" in output
    key = re.search(r"In the bucket: (\S+)", output)
    assert key
    assert linked(output) == ended.jobs.object(key[1])


def test_a_job_over_http(ended: Ended) -> None:
    output = ended.output["run_over_http"]
    assert "100 %  Pro video processing completed (lip-sync only)\n" in output
    job_id = job_of(output)
    result = ended.jobs.object(f"jobs/{job_id}/pro_sync_result_{job_id}.mp4")
    assert (ended.folder / "out/http.mp4").read_bytes() == result
    assert ended.jobs.paid(job_id)["sync_so"] == (1, 1)


def test_the_text_removal_alone(ended: Ended) -> None:
    output = ended.output["remove_text"]
    job_id = job_of(output)
    assert ended.jobs.paid(job_id) == {"sync_so": (0, 0), "ghostcut": (1, 1)}
    assert linked(output) == ended.jobs.object(f"jobs/{job_id}/pro_final_result_{job_id}.mp4")


def test_every_example_is_short_and_in_the_readme() -> None:
    readme = (ROOT / "examples/README.md").read_text(encoding="utf-8")
    for path in (ROOT / "examples").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 60
        assert f"[{path.name}]({path.name})" in readme
