"""The application: its routes and its life."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.common.control import control_routes
from sandbox.common.json_text import load
from sandbox.ghostcut.api import calls
from sandbox.ghostcut.api.endpoint import endpoint
from sandbox.ghostcut.emulator import Emulator
from sandbox.ghostcut.files import results, uploads
from sandbox.ghostcut.work import callbacks, lifecycle, works
from sandbox.ghostcut.work.points import balance, grant_first

PREFIX = "/v-w-c/gateway/ve"
DEFAULT_POINTS = 100_000.0

Handler = Callable[[Emulator, Request], Awaitable[Response]]


def create_app(
    *,
    data_dir: Path | str,
    app_key: str,
    app_secret: str,
    accounts: Mapping[str, str] | None = None,
    points: float = DEFAULT_POINTS,
    public_base_url: str | None = None,
    media_workers: int = 1,
) -> Starlette:
    """A GhostCut whose state is in `data_dir`; it continues the works of an earlier one.

    Args:
        data_dir: folder for the database and all files, of one application at a time.
        app_key: AppKey of the first account.
        app_secret: its AppSecret.
        accounts: AppKey and AppSecret of further accounts.
        points: the balance with which a new account begins.
        public_base_url: base of the links in responses; None takes the address that was called.
        media_workers: processes for media work.

    Serve it with `sandbox.common.server`: the faults close its connections.
    """
    secrets = {app_key: app_secret, **(accounts or {})}
    emulator = Emulator(Path(data_dir), secrets, public_base_url, media_workers)
    for key in secrets:
        grant_first(emulator, key, points)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        lifecycle.resume(emulator)
        callbacks.resume(emulator)
        try:
            yield
        finally:
            await emulator.tasks.close()
            await asyncio.to_thread(emulator.pool.close)
            emulator.store.close()

    control = control_routes(
        emulator.store, emulator.faults, emulator.switches, lambda: works.audit(emulator)
    )
    return Starlette(lifespan=lifespan, routes=[*control, *_routes(emulator, app_key)])


def _routes(emulator: Emulator, app_key: str) -> list[Route]:
    """Every path of the vendor, with the name of its call for faults, and the control of points."""
    call = partial(endpoint, emulator)
    form, upload = f"/oss/{uploads.BUCKET}", f"/oss/{uploads.BUCKET}/{{key:path}}"

    def route(path: str, handler: Handler, *methods: str) -> Route:
        async def serve(request: Request) -> Response:
            return await handler(emulator, request)

        return Route(path, serve, methods=list(methods))

    async def balances(emulator: Emulator, request: Request) -> Response:
        if request.method == "PUT":
            try:
                wanted = load(await request.body())
            except ValueError:
                wanted = None
            if not _is_top_up(wanted, emulator.secrets):
                return JSONResponse({"error": 'the body is {"balance", "app_key"?}'}, 400)
            account = wanted.get("app_key", app_key)
            calls.top_up(emulator, account, float(wanted["balance"]))
        shown = {key: balance(emulator, key) for key in emulator.secrets}
        return JSONResponse({"balances": shown})

    return [
        call(f"{PREFIX}/work/free", "create", calls.create),
        call(f"{PREFIX}/work/fast", "create", calls.create),
        call(f"{PREFIX}/work/status", "status", calls.status),
        call(f"{PREFIX}/work/list", "list", calls.list_all),
        call(f"{PREFIX}/work/delete", "delete", calls.delete),
        call(f"{PREFIX}/work/video/redo", "redo", calls.redo),
        call(f"{PREFIX}/work/video/inpaint/redo", "adjust", calls.adjust),
        call(f"{PREFIX}/point/query", "points", calls.query_points),
        call(f"{PREFIX}/file/upload/policy/apply", "policy", calls.apply_policy),
        call(f"{PREFIX}/file/remove", "remove", calls.remove_file),
        call("/v-w-c/enum/query2", "enum", calls.query_enum, signed=False),
        route(form, uploads.form, "POST"),
        route(upload, uploads.serve, "GET"),
        route("/cdn/{name}", results.serve, "GET", "HEAD"),
        route("/_sandbox/points", balances, "GET", "PUT"),
    ]


def _is_top_up(wanted: object, accounts: Mapping[str, str]) -> bool:
    if not isinstance(wanted, dict) or not set(wanted) <= {"balance", "app_key"}:
        return False
    balance, key = wanted.get("balance"), wanted.get("app_key")
    if not isinstance(balance, int | float) or isinstance(balance, bool) or balance < 0:
        return False
    return math.isfinite(balance) and (key is None or key in accounts)
