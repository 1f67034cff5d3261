"""The command: three servers, one end, no process left behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

import httpx
import pytest

from tests.sandbox.control import wait_until


def free_ports(count: int) -> int:
    """The first of `count` neighbouring free ports."""
    for base in range(20_000 + os.getpid() % 20_000, 60_000, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, sock in enumerate(sockets):
                sock.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            continue
        finally:
            for sock in sockets:
                sock.close()
    raise AssertionError("no free ports")


class Command:
    """A running `python -m sandbox`, its lines as they come."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)

    def ready(self, count: int) -> dict[str, str]:
        """Names and addresses of the servers that say that they are ready."""
        found: dict[str, str] = {}
        seen = ""
        while len(found) < count:
            try:
                line = self.lines.get(timeout=30)
            except Empty:
                raise AssertionError(seen) from None
            seen += line
            if match := re.fullmatch(r"sandbox (\S+): ready at (\S+)\n", line):
                found[match[1]] = match[2]
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)
        self._reader.join(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def command(*arguments: str) -> Iterator[Command]:
    running = Command(*arguments)
    try:
        yield running
    finally:
        running.close()


def refuses(url: str) -> bool:
    port = httpx.URL(url).port
    assert port is not None
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_all_three_start_and_end_together(tmp_path: Path, end: signal.Signals) -> None:
    base = free_ports(3)
    with command(f"--port-base={base}", f"--data-dir={tmp_path}") as running:
        urls = running.ready(3)
        assert urls == {
            name: f"http://127.0.0.1:{base + offset}"
            for offset, name in enumerate(("s3", "sync-so", "ghostcut"))
        }
        for url in urls.values():
            health = httpx.get(url + "/_sandbox/health", trust_env=False)
            assert health.json() == {"status": "ok"}
        running.process.send_signal(end)
        assert running.process.wait(20) == (0 if end != signal.SIGKILL else -signal.SIGKILL)
        wait_until(lambda: all(refuses(url) for url in urls.values()))


def test_a_taken_port_and_a_taken_folder_are_clear_errors(tmp_path: Path) -> None:
    with command("sync-so", "--port=0", f"--data-dir={tmp_path}") as running:
        port = httpx.URL(running.ready(1)["sync-so"]).port
        for arguments, code, reason in [
            (
                ["sync-so", f"--port={port}", f"--data-dir={tmp_path / 'other'}"],
                3,
                f"cannot listen on 127.0.0.1:{port}: Address already in use",
            ),
            (["sync-so", "--port=0", f"--data-dir={tmp_path}"], 1, "is in use"),
        ]:
            done = subprocess.run(
                [sys.executable, "-m", "sandbox", *arguments],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert done.returncode == code
            assert reason in done.stderr
            assert "Traceback" not in done.stderr
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
