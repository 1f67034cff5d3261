"""The GhostCut emulator as one ASGI application."""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.common.control import control_routes
from sandbox.common.faults import FaultQueue
from sandbox.common.http_faults import TRANSPORT_KINDS
from sandbox.common.json_text import load
from sandbox.common.media_pool import MediaPool
from sandbox.common.settings import SwitchBoard
from sandbox.common.store import Store
from sandbox.common.timing import Tasks
from sandbox.ghostcut.api.calls import Api
from sandbox.ghostcut.api.endpoint import REJECT_KINDS, Gateway
from sandbox.ghostcut.files import results as result_module
from sandbox.ghostcut.files.results import Results
from sandbox.ghostcut.files.uploads import BUCKET, Uploads
from sandbox.ghostcut.switches import DEFAULTS, Switches
from sandbox.ghostcut.work import callbacks as callback_module
from sandbox.ghostcut.work.callbacks import Callbacks
from sandbox.ghostcut.work.lifecycle import MEDIA_FAULTS, Runner
from sandbox.ghostcut.work.points import Points
from sandbox.ghostcut.work.works import WorkBook

PREFIX = "/v-w-c/gateway/ve"
DEFAULT_POINTS = 100_000.0

_CALL_KINDS = TRANSPORT_KINDS | REJECT_KINDS
_FILE_KINDS = TRANSPORT_KINDS - {"truncate_json", "truncate_body", "extra_fields"}
FAULTS = {
    **dict.fromkeys(
        ("create", "delete", "redo", "adjust", "points", "policy", "remove", "enum"), _CALL_KINDS
    ),
    "status": _CALL_KINDS | {"unknown_status", "empty"},
    "list": _CALL_KINDS | {"unknown_status", "empty"},
    "job": MEDIA_FAULTS | {"failed", "stuck", "slow", "unknown_status", "empty_result"},
    "download": _FILE_KINDS | result_module.KINDS,
    "callback": callback_module.KINDS,
}
"""Every call that can be made to fail, with the kinds that it understands."""


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
    """Build the emulator; its state lives in `data_dir` and survives a restart or a kill.

    `accounts` adds further AppKey to AppSecret pairs; `points` is the balance with which each new
    account begins; `public_base_url` overrides the request's own address in links to results and
    uploads.
    """
    folder = Path(data_dir)
    secrets = {app_key: app_secret, **(accounts or {})}
    store = Store(folder / "ghostcut.sqlite")
    faults = FaultQueue(store, FAULTS)
    board = SwitchBoard(store, DEFAULTS)
    switches = Switches(board)
    purse = Points(store, switches)
    for key in secrets:
        purse.seed(key, points)
    tasks = Tasks()
    pool = MediaPool(media_workers)
    book = WorkBook(store, faults, purse, switches)
    callbacks = Callbacks(store, book, faults, switches, tasks, secrets)
    runner = Runner(book, purse, switches, pool, tasks, folder, callbacks.start)
    uploads = Uploads(store, folder / "uploads")
    results = Results(folder / "results", book, faults, switches)
    gateway = Gateway(faults, switches, secrets, public_base_url)
    api = Api(book, runner, callbacks, purse, uploads, switches)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        runner.resume()
        callbacks.resume()
        try:
            yield
        finally:
            await tasks.close()
            pool.close()
            store.close()

    async def serve_upload(request: Request) -> Response:
        return uploads.serve(request.path_params["key"])

    async def balances(request: Request) -> Response:
        if request.method == "PUT":
            try:
                wanted = load(await request.body())
            except ValueError:
                wanted = None
            if not _is_top_up(wanted, secrets):
                return JSONResponse({"error": 'the body is {"balance", "app_key"?}'}, 400)
            api.top_up(wanted.get("app_key", app_key), float(wanted["balance"]))
        return JSONResponse({"balances": {key: purse.balance(key) for key in secrets}})

    return Starlette(
        lifespan=lifespan,
        routes=[
            gateway.route(f"{PREFIX}/work/free", "create", api.create),
            gateway.route(f"{PREFIX}/work/fast", "create", api.create),
            gateway.route(f"{PREFIX}/work/status", "status", api.status),
            gateway.route(f"{PREFIX}/work/list", "list", api.list),
            gateway.route(f"{PREFIX}/work/delete", "delete", api.delete),
            gateway.route(f"{PREFIX}/work/video/redo", "redo", api.redo),
            gateway.route(f"{PREFIX}/work/video/inpaint/redo", "adjust", api.adjust),
            gateway.route(f"{PREFIX}/point/query", "points", api.points),
            gateway.route(f"{PREFIX}/file/upload/policy/apply", "policy", api.policy),
            gateway.route(f"{PREFIX}/file/remove", "remove", api.remove),
            gateway.route("/v-w-c/enum/query2", "enum", api.enum, signed=False),
            Route(f"/oss/{BUCKET}", uploads.form, methods=["POST"]),
            Route(f"/oss/{BUCKET}/{{key:path}}", serve_upload, methods=["GET"]),
            Route("/cdn/{name}", results.serve, methods=["GET"]),
            Route("/_sandbox/points", balances, methods=["GET", "PUT"]),
            *control_routes(store, faults, board, book.audit),
        ],
    )


def _is_top_up(wanted: object, accounts: Mapping[str, str]) -> bool:
    if not isinstance(wanted, dict) or not set(wanted) <= {"balance", "app_key"}:
        return False
    balance, key = wanted.get("balance"), wanted.get("app_key")
    if not isinstance(balance, int | float) or isinstance(balance, bool) or balance < 0:
        return False
    return math.isfinite(balance) and (key is None or key in accounts)
