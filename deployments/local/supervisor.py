"""Runs the stack's processes under supervisord, in the foreground."""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from deployments.local.stack import Stack, stop_signal

# supervisord sends the stop signal, then SIGKILL; all processes end within this time, in seconds.
_STOP_SECONDS = 25


class StackRuns(Exception):
    """A folder has one stack at a time."""


def write_configuration(stack: Stack) -> Path:
    """The configuration of supervisord for a stack; its environment is inherited, not written
    down."""
    stack.logs.mkdir(mode=0o700, exist_ok=True)
    config = configparser.RawConfigParser()
    # Paths are relative to the stack's folder, whose name may hold characters with a meaning here.
    config["supervisord"] = {
        "nodaemon": "true",
        "silent": "true",
        "logfile": "logs/supervisord.log",
        "pidfile": "supervisord.pid",
        "childlogdir": "logs",
    }
    for name, command in stack.commands().items():
        # Its output goes to the user.
        one_shot = name == "initialize"
        # Prefect's migrations let the server import from its working directory, where packages of
        # the user may have our names.
        directory = stack.logs if name.startswith("prefect") else Path.cwd()
        config[f"program:{name}"] = {
            "command": _escaped(shlex.join(command)),
            "directory": _escaped(str(directory)),
            # A killed worker is started again and resumes its jobs.
            "autorestart": "false" if one_shot else "true",
            "startsecs": "0" if one_shot else "1",
            "startretries": "10",
            "stopsignal": stop_signal(name).name.removeprefix("SIG"),
            # The lowest number is stopped last.
            "priority": "1" if name in ("postgres", "redis") else "999",
            "stopwaitsecs": str(_STOP_SECONDS - 5),
            "stopasgroup": "false",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": "/dev/fd/1" if one_shot else f"logs/{name}.log",
            "stdout_logfile_maxbytes": "0" if one_shot else "20MB",
            "stdout_logfile_backups": "1",
        }
    path = stack.folder / "supervisord.conf"
    with path.open("w", encoding="utf-8") as file:
        config.write(file)
    return path


def _escaped(text: str) -> str:
    # supervisord expands %(…)s in its values.
    return text.replace("%", "%%")


def run(stack: Stack, *, output: int | None = None) -> int:
    """Run the stack until Ctrl-C, SIGTERM or the end of supervisord; nothing is left running.

    Args:
        stack: to run.
        output: file descriptor for messages to the user; this process's own by default.

    Returns:
        The exit status: 0 after an order to stop.

    Raises:
        StackRuns: another process runs a stack in this folder.
    """
    with (stack.folder / "stack.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackRuns(f"Another stack runs in {stack.folder}; stop it first") from None
        return _run(stack, output)


def _run(stack: Stack, output: int | None) -> int:
    stack.description_file.unlink(missing_ok=True)
    configuration = write_configuration(stack)
    process: subprocess.Popen[bytes] | None = None
    asked_to_stop = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked_to_stop
        asked_to_stop = True
        if process is not None:
            process.terminate()

    # Before the start, so that no signal in between is lost.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    process = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "supervisor.supervisord"),
            *("--nodaemon", "--configuration", str(configuration)),
        ],
        env={**os.environ, **stack.environment()},
        cwd=stack.folder,
        stdout=output,
        # Its own group: the terminal's Ctrl-C would reach it a second time.
        start_new_session=True,
    )
    if asked_to_stop:
        process.terminate()
    status = process.wait()
    stack.description_file.unlink(missing_ok=True)
    cluster = stack.database.cluster
    if cluster and cluster.socket_folder != cluster.data:
        # The folder is missing when the server never started, and not empty when it was killed.
        with contextlib.suppress(OSError):
            cluster.socket_folder.rmdir()
    return 0 if asked_to_stop else status or 1
