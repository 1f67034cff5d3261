import itertools
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from sandbox.common.server import RunningServer, start_app
from sandbox.ghostcut import create_app
from sandbox.ghostcut.switches import SWITCHES
from tests.sandbox.ghostcut.vendor import Receiver, Vendor, write_source

ACCOUNTS = {f"key-{number}": f"secret-{number}" for number in range(200)}
DEFAULTS = {
    **{name: switch.default for name, switch in SWITCHES.items()},
    "seconds_per_job": 0.0,
    "media": "copy",
}
_next_account = itertools.count()


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of `source_url`: clip.mp4, and fast.mp4, the same with its index in front."""
    folder = tmp_path_factory.mktemp("sources")
    write_source(folder / "clip.mp4")
    write_source(folder / "fast.mp4", faststart=True)
    return folder


@pytest.fixture(scope="session")
def source_url(sources: Path) -> Iterator[str]:
    with start_app(Starlette(routes=[Mount("/", StaticFiles(directory=sources))])) as server:
        yield server.url


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One emulator for most tests, which keep apart by using an account each."""
    app = create_app(
        data_dir=tmp_path_factory.mktemp("ghostcut"),
        app_key="main",
        app_secret="main-secret",
        accounts=ACCOUNTS,
        points=100.0,
    )
    with start_app(app) as server:
        yield server


@pytest.fixture
def vendor(emulator: RunningServer, source_url: str) -> Iterator[Vendor]:
    """A fresh account on the shared emulator, which is reset to its defaults first and is fast."""
    key, secret = list(ACCOUNTS.items())[next(_next_account)]
    vendor = Vendor(emulator.url, key, secret, f"{source_url}/clip.mp4")
    with vendor.http:
        vendor.http.delete("/_sandbox/faults").raise_for_status()
        vendor.settings(**DEFAULTS)
        yield vendor


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    with start_app(Starlette(routes=[Route("/", receiver.receive, methods=["POST"])])) as server:
        receiver.url = f"{server.url}/?attempt=a1"
        yield receiver


@pytest.fixture
def plain() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=15, trust_env=False, verify=False) as client:
        yield client
