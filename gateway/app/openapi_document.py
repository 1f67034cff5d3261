"""The OpenAPI document of the running gateway, with the limits of its installation."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic.json_schema import models_json_schema
from starlette.staticfiles import StaticFiles

from gateway.auth.token_store import TokenStore
from gateway.base.problems import Problem, ProblemError
from gateway.base.services import service
from gateway.events.history import JobEvent
from gateway.jobs.form_schema import REFERENCE, form_schemas
from gateway.jobs.request_models import JobBody
from gateway.uploads.direct_uploads import UploadRequest
from pro_video.core.settings import get_settings

PATH = "/openapi.json"

ASSETS = "/docs/assets"
"""The path of the page's scripts and styles."""

router = APIRouter(include_in_schema=False)


@router.get(PATH)
async def read_document(
    request: Request, tokens: Annotated[TokenStore, service(TokenStore)]
) -> JSONResponse:
    """The document, with the present need of a token."""
    try:
        needs_token = await tokens.exist()
    except ProblemError:
        # Unknown at the moment; an unneeded token would do no harm.
        needs_token = True
    return JSONResponse(document(request.app, needs_token=needs_token))


@router.get("/docs")
async def read_docs(request: Request) -> HTMLResponse:
    """The document as a page. People enter tokens there, so it loads no foreign script."""
    return get_swagger_ui_html(
        openapi_url=PATH,
        title=request.app.title,
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
    )


def assets() -> StaticFiles:
    """The page's scripts and styles."""
    return StaticFiles(packages=[("fastapi_offline", "static")])


def document(app: FastAPI, *, needs_token: bool) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        app: the application.
        needs_token: False until the first token is made: clients on the same machine need none.
    """
    described = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    _, definitions = models_json_schema(
        [
            (Problem, "serialization"),
            (JobEvent, "serialization"),
            (JobBody, "validation"),
            (UploadRequest, "validation"),
        ],
        ref_template=REFERENCE,
    )
    schemas = described.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(definitions["$defs"])
    schemas.update(form_schemas(schemas))
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
