"""The application: S3 itself, the control API beside it, and its life."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.routing import Router

from sandbox.common.control import control_routes
from sandbox.common.faults import FaultQueue
from sandbox.common.server import RunningServer, start_app
from sandbox.common.settings import SwitchBoard
from sandbox.common.store import Store
from sandbox.common.timing import Tasks
from sandbox.s3.dispatch import Dispatcher
from sandbox.s3.faults import KNOWN
from sandbox.s3.operations.lifecycle import sweep_forever
from sandbox.s3.service import Service
from sandbox.s3.storage.blobs import Blobs
from sandbox.s3.storage.catalog import Catalog
from sandbox.s3.storage.uploads import Uploads
from sandbox.s3.verification.signature import Credentials


def create_app(
    *,
    data_dir: Path | str,
    access_key: str,
    secret_key: str,
    region: str = "us-east-1",
    now: Callable[[], float] = time.time,
) -> Router:
    """An S3 whose objects live in `data_dir`; one application at a time.

    Args:
        data_dir: folder for the records and the bodies.
        access_key: the only key pair's id.
        secret_key: its secret.
        region: the region that signatures must name.
        now: seconds since the epoch, for signatures, dates and lifecycle rules.

    Serve it with `sandbox.common.server`, whose connections the faults can cut.
    """
    folder = Path(data_dir)
    store = Store(folder / "s3.sqlite")
    blobs = Blobs(folder)
    catalog = Catalog(store, blobs, now)
    blobs.sweep(catalog.wanted())
    credentials = Credentials(access_key, secret_key)
    service = Service(catalog, Uploads(catalog), blobs, credentials, region, now)
    faults = FaultQueue(store, KNOWN)
    dispatcher = Dispatcher(service, faults)
    tasks = Tasks()

    @asynccontextmanager
    async def lifespan(_: Router) -> AsyncIterator[None]:
        tasks.start("lifecycle", sweep_forever(service))
        try:
            yield
        finally:
            await tasks.close()
            store.close()

    # Underscores are forbidden in names of buckets: the control API hides none.
    control = control_routes(
        store, faults, SwitchBoard(store, {}), lambda: {"requests": dict(dispatcher.requests)}
    )
    return Router(control, redirect_slashes=False, default=dispatcher, lifespan=lifespan)


def start_s3(
    data_dir: Path | str, *, host: str = "127.0.0.1", port: int = 0, **options: Any
) -> RunningServer:
    """Serves `create_app`, which takes the options, from a thread; port 0 takes a free one.

    Raises PortTakenError when the address is in use.
    """
    return start_app(create_app(data_dir=data_dir, **options), host, port)
