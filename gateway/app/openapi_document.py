"""The OpenAPI document of the running gateway, with the limits of its installation."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic.json_schema import models_json_schema
from starlette.staticfiles import StaticFiles

from gateway.app.context import Context
from gateway.base.problems import Problem, ProblemError
from gateway.events.history import JobEvent
from gateway.jobs.form_schema import REFERENCE, FormTexts, form_schema
from gateway.jobs.request_models import JobBody
from gateway.uploads.direct_uploads import UploadRequest
from pro_video.core.settings import get_settings

PATH = "/openapi.json"

ASSETS = "/docs/assets"
"""The path of the files of the page for people."""

router = APIRouter(include_in_schema=False)


@router.get(PATH)
async def read_document(request: Request, context: Context) -> JSONResponse:
    """The document as it holds now."""
    try:
        needs_token = await context.tokens.is_closed()
    except ProblemError:
        # Unknown at the moment; a token does no harm.
        needs_token = True
    return JSONResponse(document(request.app, needs_token=needs_token))


@router.get("/docs")
async def read_docs(request: Request) -> HTMLResponse:
    """The document for people. Its page takes tokens, so it runs no script from elsewhere."""
    return get_swagger_ui_html(
        openapi_url=PATH,
        title=request.app.title,
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
    )


def assets() -> StaticFiles:
    """The files of the page for people."""
    return StaticFiles(packages=[("fastapi_offline", "static")])


def document(app: FastAPI, *, needs_token: bool) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        app: the application.
        needs_token: is there any token? While there is none, clients on the same machine go
            without.
    """
    described = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    _, definitions = models_json_schema(
        [
            (Problem, "serialization"),
            (JobEvent, "serialization"),
            (JobBody, "validation"),
            (FormTexts, "validation"),
            (UploadRequest, "validation"),
        ],
        ref_template=REFERENCE,
    )
    schemas = described.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(definitions["$defs"])
    schemas["Form"] = form_schema(schemas.pop("FormTexts"))
    _limit(described)
    if not needs_token:
        for operations in described["paths"].values():
            for operation in operations.values():
                if "security" in operation:
                    operation["security"].append({})
    return described


def _limit(described: dict[str, Any]) -> None:
    """Write the limits of this installation into the document."""
    settings = get_settings()
    schemas = described["components"]["schemas"]
    job = schemas["JobBody"]["properties"]
    form = schemas["Form"]["properties"]
    for body in (job, form):
        body["segments_data"]["maxItems"] = settings.max_segments
    job["audios"]["maxProperties"] = settings.max_segments
    form["audio_files"]["maxItems"] = settings.max_segments
    schemas["UploadRequest"]["properties"]["size"]["maximum"] = settings.max_source_bytes
