"""The application: its routes and its life."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.common.control import control_routes
from sandbox.common.media_pool import MediaPool
from sandbox.sync_so.api import assets, catalogue, generations
from sandbox.sync_so.api.create import create
from sandbox.sync_so.api.endpoint import endpoint
from sandbox.sync_so.audit import audit
from sandbox.sync_so.emulator import Emulator
from sandbox.sync_so.files import results, uploads
from sandbox.sync_so.work import lifecycle


def create_app(
    *,
    data_dir: Path | str,
    api_key: str | Sequence[str],
    public_base_url: str | None = None,
    webhook_secret: str | None = None,
    workers: int = 1,
    pool: MediaPool | None = None,
) -> Starlette:
    """A Sync.so whose state is in `data_dir`; it continues the jobs of an earlier one.

    Args:
        data_dir: folder for the database and all files, of one application at a time.
        api_key: the key, or the keys, of the one organisation.
        public_base_url: base of the links in responses; None takes the address that was called.
        webhook_secret: None makes one for each data folder.
        workers: processes for media work.
        pool: shared processes instead, which the caller closes.

    Serve it with `sandbox.common.server`: the faults close its connections.
    """
    keys = [api_key] if isinstance(api_key, str) else list(api_key)
    media_pool = pool or MediaPool(workers)
    emulator = Emulator(Path(data_dir), keys, public_base_url, webhook_secret, media_pool)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        lifecycle.resume(emulator)
        try:
            yield
        finally:
            await emulator.tasks.close()
            if pool is None:
                await asyncio.to_thread(media_pool.close)
            emulator.store.close()

    control = control_routes(
        emulator.store, emulator.faults, emulator.switches, lambda: audit(emulator)
    )
    return Starlette(
        lifespan=lifespan,
        exception_handlers={HTTPException: _not_found},
        routes=[*control, *_routes(emulator)],
    )


def _routes(emulator: Emulator) -> list[Route]:
    """Every path of the vendor, with the name of its call for faults."""
    get = partial(endpoint, emulator)
    post = partial(get, methods=["POST"])
    public = partial(get, authenticated=False)
    asset, generation = "/v2/assets/{id}", "/v2/generations/{id}"
    upload, result = "/storage/uploads/{id}/{name}", "/storage/results/{id}/{file}"
    return [
        post("/v2/generate", None, create),
        post("/v2/generate/estimate-cost", "estimate", catalogue.estimate),
        get("/v2/generate/{id}", "status", generations.read),
        get("/v2/generations", "list", generations.list_all),
        get("/v2/generations/count", "count", generations.count),
        post("/v2/generations/estimate", "estimate", catalogue.estimate),
        get(generation, "status", generations.read),
        get(generation, "delete", generations.delete, methods=["DELETE"]),
        get(f"{generation}/download", "link", generations.download_link),
        # A fault of a download is used up by the storage address, not by the redirect to it.
        public(f"{generation}/result", "result", results.link, methods=["GET", "HEAD"]),
        public(result, "download", results.stored, methods=["GET", "HEAD"]),
        post("/v2/analyze/cost", "estimate", catalogue.analyze),
        public("/v2/errors", "other", catalogue.errors),
        get("/v2/models", "other", catalogue.models),
        get("/v2/organizations/webhook/secret", "other", catalogue.webhook_secret),
        get("/v2/batch", "other", catalogue.batch, methods=["GET", "POST"]),
        get("/v2/batch/{id}", "other", catalogue.batch),
        post("/v2/assets/upload", "asset", assets.announce_upload),
        post("/v2/assets", "asset", assets.register),
        get("/v2/assets", "asset", assets.list_all),
        get(asset, "asset", assets.one, methods=["GET", "PATCH", "DELETE"]),
        public(upload, "upload", uploads.put, methods=["PUT"]),
        public(upload, "upload", uploads.get),
    ]


async def _not_found(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    # The vendor reports a wrong method as an unknown path.
    status = 404 if status == 405 else status
    message = f"Cannot {request.method} {request.url.path}"
    body = {"message": message, "error": "Not Found", "statusCode": status}
    return JSONResponse(body, status)
