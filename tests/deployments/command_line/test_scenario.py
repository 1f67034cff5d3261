"""The commands of the document, in their order, in the directory of another project whose packages
have the names of ours; and its program."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.stack import foreign_directory
from tests.test_docs import ROOT, commands_of

pytestmark = pytest.mark.timeout(1000)

DOCUMENT = ROOT / "docs/command-line.md"
# Stand for the job and the API in the document.
JOB = "0191a9e4-7d4c-7c3e-9a55-0f6f3f1c2b7a"
API = "http://127.0.0.1:4204"


@background_job
def all_commands(resources: Resources) -> tuple[Path, dict[str, str], list[tuple[int, int]]]:
    """Folder; standard output of each command; what was paid for each job: tries and jobs."""
    stack = resources.jobs.stack
    folder = foreign_directory(resources.folder / "command-line")
    shutil.copy(resources.tiny.clip, folder / "clip.mp4")
    shutil.copy(resources.tiny.line_1, folder / "line.wav")
    api = str(stack.base_url("gateway"))
    environment = {**stack.environment(), "PRO_VIDEO_API": api}

    def run(*words: str | Path) -> str:
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        jobs.extend(re.findall(r"^Job (\S+)$", done.stderr, re.M))
        return done.stdout

    jobs: list[str] = []
    said: dict[str, str] = {}
    for command in commands_of(DOCUMENT):
        words = [jobs[0] if word == JOB else word for word in command.words]
        said[" ".join(command.words)] = run(Path(sys.executable).parent / words[0], *words[1:])
    program = re.search(r"^```python\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.M | re.S)
    assert program
    code = program[1].replace(API, api).replace("result.mp4", "third.mp4")
    # As a script of the directory, whose packages come before ours, and with ours first.
    said["program"] = run(sys.executable, "-P", "-c", code)
    detached = next(text for words, text in said.items() if "--detach" in words).strip()
    resources.jobs.finish([detached])
    return folder, said, [resources.jobs.paid(each)["sync_so"] for each in (jobs[0], detached)]


def test_every_command_of_the_document_works(background_jobs: BackgroundJobs) -> None:
    folder, said, paid = background_jobs.result(all_commands)
    result = (folder / "result.mp4").read_bytes()
    assert len(result) > 1000
    assert (folder / "again.mp4").read_bytes() == result
    assert (folder / "third.mp4").is_file()
    # The second has the same files and segments, and buys its text removal alone.
    assert paid == [(1, 1), (0, 0)]
    job_id = json.loads(said[f"pro-video status {JOB} --json"])["job_id"]
    assert (folder / f"{job_id}.jpg").read_bytes().startswith(b"\xff\xd8")
    assert job_id in said["pro-video list --status completed"]
    assert "USD" in said["program"]
