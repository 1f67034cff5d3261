"""The application: every route of the emulator, and its life."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.common.control import control_routes
from sandbox.common.media_pool import MediaPool
from sandbox.sync_so.api.assets import asset_routes
from sandbox.sync_so.api.catalogue import information_routes
from sandbox.sync_so.api.create import create_routes
from sandbox.sync_so.api.generations import reading_routes
from sandbox.sync_so.audit import audit
from sandbox.sync_so.emulator import Emulator
from sandbox.sync_so.files.results import result_routes
from sandbox.sync_so.files.uploads import upload_routes
from sandbox.sync_so.work import lifecycle as jobs


def create_app(
    *,
    data_dir: Path | str,
    api_key: str | Sequence[str],
    public_base_url: str | None = None,
    webhook_secret: str | None = None,
    workers: int = 1,
    pool: MediaPool | None = None,
) -> Starlette:
    """A Sync.so whose state lives in `data_dir`; it goes on where an earlier one stopped.

    Args:
        data_dir: folder for the database and all files; one application at a time.
        api_key: the key, or the keys, of the one organisation.
        public_base_url: base of the addresses it gives out; None takes each caller's own.
        webhook_secret: None for one made once per data folder.
        workers: processes for media work.
        pool: processes to share with others; it stays the caller's to close.

    Serve it with `sandbox.common.server`, whose connections the faults can cut.
    """
    keys = [api_key] if isinstance(api_key, str) else list(api_key)
    media_pool = pool or MediaPool(workers)
    emulator = Emulator(Path(data_dir), keys, public_base_url, webhook_secret, media_pool)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        jobs.resume(emulator)
        try:
            yield
        finally:
            await emulator.tasks.close()
            if pool is None:
                await asyncio.to_thread(media_pool.close)
            emulator.store.close()

    return Starlette(
        lifespan=lifespan,
        exception_handlers={HTTPException: _not_found},
        routes=[
            *control_routes(
                emulator.store, emulator.faults, emulator.switches, lambda: audit(emulator)
            ),
            *create_routes(emulator),
            *information_routes(emulator),
            *result_routes(emulator),
            *reading_routes(emulator),
            *upload_routes(emulator),
            *asset_routes(emulator),
        ],
    )


async def _not_found(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        status = 404
    return JSONResponse(
        {
            "message": f"Cannot {request.method} {request.url.path}",
            "error": "Not Found",
            "statusCode": status,
        },
        status_code=status,
    )
