"""The commands against scripted servers: exit statuses, JSON, and Ctrl-C in a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.command_line.connection import local_api
from deployments.command_line.display import StageBars
from deployments.command_line.main import main
from deployments.command_line.output import DONE, DOUBTFUL, FAILED, INTERRUPTED, REFUSED
from deployments.command_line.output import exit_status as status_of
from pro_video.client import Job, JobEvent
from tests.pro_video.client.answers import JOB, PATH, estimate, event, job, problem
from tests.support.commands import clean_environment
from tests.support.scripted import Asked, Reply, ScriptedServer

RUN = ("upload:v", "--segment", "0-1=upload:a")
HELD = {"code": "output_held", "message": "Held: doubtful."}
CHANGED = {"code": "output_picture_changed", "message": "It changed.", "stage": "lip-sync"}
LONGER = {"code": "audio_longer", "message": "It is longer.", "stage": "request"}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"status": "completed"}, DONE),
        ({"status": "completed", "warnings": [LONGER]}, DONE),
        ({"status": "completed", "warnings": [CHANGED]}, DOUBTFUL),
        (
            {"status": "completed", "warnings": [CHANGED, CHANGED | {"code": "output_accepted"}]},
            DONE,
        ),
        ({"status": "failed", "error": HELD}, DOUBTFUL),
        ({"status": "failed", "error": {"code": "x", "message": "Lip-sync failed: x"}}, FAILED),
        ({"status": "failed", "error": {"code": "x", "message": "Request refused: x"}}, REFUSED),
        ({"status": "cancelled"}, FAILED),
    ],
)
def test_an_end_is_an_exit_status(fields: dict[str, Any], status: int) -> None:
    assert status_of(Job.model_validate(job(**fields))) == status


async def command(
    patch: pytest.MonkeyPatch, answer: Callable[[Asked], Reply], *words: str
) -> tuple[int | None, list[Asked]]:
    """The exit status of a command, and what it asked for."""
    async with ScriptedServer(answer=answer) as server:
        patch.setenv("PRO_VIDEO_API", server.url)
        return await asyncio.to_thread(main, words), server.asked


WRONG = {"field": "segments_data[1].endTime", "code": "order", "message": "is too early"}


@pytest.mark.parametrize(
    ("words", "reply", "status", "says"),
    [
        (
            ("check", *RUN),
            Reply(422, problem(422, "invalid_request", errors=[WRONG])),
            REFUSED,
            "segment 2, endTime: is too early",
        ),
        (("run", *RUN, "--max-cost", "0.5"), Reply(body=estimate(False)), REFUSED, "limit is 0.5"),
        (("estimate", *RUN), Reply(body=estimate()), DONE, "Estimate 0.10 to 0.60 USD"),
        (("run", "no.mp4", *RUN[1:]), Reply(500), REFUSED, "There is no file no.mp4."),
        (("status", JOB), Reply(404, problem(404, "job_not_found")), REFUSED, "A detail."),
        (("retry", JOB), Reply(409, problem(409, "job_ended")), REFUSED, "A detail."),
        (
            ("cancel", JOB),
            Reply(503, problem(503, "upstream_unavailable"), {"Retry-After": "60"}),
            FAILED,
            "A detail.",
        ),
        (("open", JOB), Reply(body=job("failed")), REFUSED, "The job has no video"),
        (("get", JOB), Reply(body=job("failed")), FAILED, "has no output"),
        (("status", JOB), Reply(body=job(retry_url="/retry")), DONE, f"pro-video retry {JOB}"),
    ],
)
async def test_a_command_says_what_is_wrong_and_begins_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    reply: Reply,
    status: int,
    says: str,
) -> None:
    found, asked = await command(monkeypatch, lambda _: reply, *words)
    said = capsys.readouterr()
    assert (found, says in said.out + said.err) == (status, True), said
    assert ("POST", "/api/v1/jobs") not in [(each.method, each.path) for each in asked]


async def test_links_are_not_estimated_and_begin_a_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unread = {"field": "video", "code": "source_not_read", "message": "is a link"}

    def answer(asked: Asked) -> Reply:
        if asked.path == "/api/v1/estimates":
            return Reply(422, problem(422, "invalid_request", errors=[unread]))
        return Reply(body=job())

    words = ("run", "https://example.com/v.mp4", *RUN[1:], "--detach", "--json")
    status, asked = await command(monkeypatch, answer, *words)
    assert status == DONE
    assert json.loads(capsys.readouterr().out)["job_id"] == JOB
    assert json.loads(asked[1].body)["video"] == "https://example.com/v.mp4"


@pytest.mark.parametrize("words", [("run", "clip.mp4"), ("list", "--status", "x"), ("unknown",)])
def test_a_wrong_command_line_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == REFUSED


def test_the_local_stack_is_found_from_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    (tmp_path / ".sandbox").mkdir()
    description = tmp_path / ".sandbox/stack.json"
    description.write_text('{"gateway": {"base_url": "http://127.0.0.1:5204"}}', encoding="utf-8")
    assert local_api() == "http://127.0.0.1:5204"
    description.unlink()
    monkeypatch.setattr("deployments.command_line.connection._PROJECT", tmp_path)
    monkeypatch.setenv("PRO_VIDEO_PORT_BASE", "6200")
    assert local_api() == "http://127.0.0.1:6204"


# The terminal of its standard input becomes the one whose Ctrl-C it gets.
_IN_TERMINAL = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"


def typed(url: str, ready: Callable[[], bool], *keys: bytes) -> tuple[int, str]:
    """Watch a job in a terminal; press keys when it is followed, the later ones when asked."""
    screen, terminal = os.openpty()
    program = Path(sys.executable).parent / "pro-video"
    with subprocess.Popen(
        [sys.executable, "-c", _IN_TERMINAL, program, "watch", JOB],
        env=clean_environment(PRO_VIDEO_API=url),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        said, left = b"", list(keys)
        while True:
            if left and (ready() if len(left) == len(keys) else b"leave it running" in said):
                os.write(screen, left.pop(0))
            if not select.select([screen], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(screen, 4096)
            except OSError:
                # Linux says so when the last process has closed the terminal.
                data = b""
            if not data:
                break
            said += data
    os.close(screen)
    return process.returncode, said.decode()


@pytest.mark.parametrize(
    ("second", "status", "cancelled"),
    [(b"c\n", FAILED, True), (b"\n", INTERRUPTED, False), (b"\x03", INTERRUPTED, False)],
)
async def test_ctrl_c_asks_whether_to_cancel_or_to_leave_it(
    second: bytes, status: int, cancelled: bool
) -> None:
    asked: list[str] = []

    def answer(request: Asked) -> Reply:
        asked.append(f"{request.method} {request.path}")
        if request.path != f"{PATH}/events":
            return Reply(body=job("cancelled"))
        if f"POST {PATH}/cancel" in asked:
            return Reply(body=event("2", "cancelled"))
        return Reply(fault="hang")

    async with ScriptedServer(answer=answer) as server:
        ready = asked.__contains__
        found, said = await asyncio.to_thread(
            typed, server.url, lambda: ready(f"GET {PATH}/events"), b"\x03", second
        )
    assert found == status, said
    assert (f"POST {PATH}/cancel" in asked) is cancelled
    assert ("cancelled, 20 %" in said) is cancelled
    assert (f"pro-video watch {JOB}" in said) is not cancelled


def test_a_terminal_shows_a_bar_for_each_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    blank: dict[str, Any] = {
        "job_id": JOB,
        "warnings": [],
        "rejected_key": None,
        "fallback_key": None,
    }
    blank |= {"timestamp": "2026-01-01T12:00:00Z"}
    with StageBars() as bars:
        for stage, progress, message in (
            ("queued", 0, "Waiting for a worker..."),
            ("uploading", 5, "Uploading files..."),
            ("lip-sync processing", 30, "Waiting for a slot"),
            (None, 30, "Lip-sync failed"),
        ):
            status = "processing" if stage else "failed"
            fields = {"stage": stage, "status": status, "progress": progress, "message": message}
            bars.show(JobEvent.model_validate(blank | fields))
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    screen = said.rpartition("\r")[2]
    shown = re.findall(r"^(Queued|Uploading|Lip-sync processing) .*?(\d+)%", screen, re.M)
    assert shown == [("Queued", "100"), ("Uploading", "100"), ("Lip-sync processing", "50")]
