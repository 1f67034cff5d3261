"""The control API of an emulator, one in a process of its own, and waiting for a condition."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx


class Control:
    """Switches, faults and audit of the emulator behind `http`."""

    http: httpx.Client

    def settings(self, **switches: Any) -> None:
        self.http.put("/_sandbox/settings", json=switches).raise_for_status()

    def faults(self, *faults: dict[str, Any]) -> None:
        response = self.http.put("/_sandbox/faults", json={"faults": list(faults)})
        assert response.status_code == 200, response.text

    def audit(self) -> dict[str, Any]:
        body: dict[str, Any] = self.http.get("/_sandbox/audit").json()
        return body


@contextmanager
def emulator_to_kill(
    name: str, data_dir: Path, *options: str
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """An emulator's process, which is killed at the end, and its address."""
    command = [sys.executable, "-m", "sandbox", name, "--port=0", f"--data-dir={data_dir}"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()[-1]
        finally:
            process.kill()


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)
    return value
