"""The control API of an emulator, and waiting for a condition."""

import time
from collections.abc import Callable
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


def wait_until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)
    return value
