"""The routes of direct uploads."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import ValidationError

from gateway.auth.authenticate import Owner
from gateway.base.idempotency import IdempotencyKey
from gateway.base.json_body import read_object
from gateway.base.problems import FieldProblem, invalid, problem_responses
from gateway.base.services import service
from gateway.uploads.direct_uploads import UPLOAD_ID, DirectUploads, UploadRequest, UploadView
from pro_video.request.problems import problems_from_validation

router = APIRouter(prefix="/api/v1/uploads", tags=["uploads"])

Uploads = Annotated[DirectUploads, service(DirectUploads)]
UploadId = Annotated[str, Path(pattern=f"^{UPLOAD_ID}$", description="Id of the upload.")]
_LINKS: dict[str, Any] = {
    operation: {"operationId": operation, "parameters": {"upload_id": "$response.body#/upload_id"}}
    for operation in ("get_upload", "complete_upload", "remove_upload")
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/UploadRequest"},
                "example": {"filename": "clip.mp4", "size": 104857600},
            }
        },
    }
}


@router.post(
    "",
    status_code=201,
    summary="Begin a direct upload",
    responses={
        **problem_responses(400, 401, 403, 408, 413, 415, 422, 429, 503),
        200: {"model": UploadView, "description": "The upload that the same key began before."},
        201: {"links": _LINKS},
    },
    openapi_extra=_BODY,
)
async def create_upload(
    request: Request, response: Response, uploads: Uploads, owner: Owner, key: IdempotencyKey
) -> UploadView:
    """PUT each part to its link, then complete. An upload that is not completed expires."""
    body = await read_object(request)
    try:
        wanted = UploadRequest.model_validate(body)
    except ValidationError as error:
        raise invalid(
            [
                FieldProblem(field=found.field, code=found.code, message=found.message)
                for found in problems_from_validation(error)
            ]
        ) from None
    upload, is_new = await uploads.create(owner, wanted, key)
    response.status_code = 201 if is_new else 200
    return upload


@router.get(
    "/{upload_id}",
    summary="One upload, with links for its missing parts",
    responses=problem_responses(401, 403, 404, 410, 422, 429, 503),
)
async def get_upload(upload_id: UploadId, uploads: Uploads, owner: Owner) -> UploadView:
    """For a client that resumes."""
    return await uploads.get(owner, upload_id)


@router.post(
    "/{upload_id}/complete",
    summary="Complete an upload",
    responses=problem_responses(401, 403, 404, 409, 410, 422, 429, 503),
)
async def complete_upload(upload_id: UploadId, uploads: Uploads, owner: Owner) -> UploadView:
    """The gateway checks the parts; the request has no body."""
    return await uploads.complete(owner, upload_id)


@router.delete(
    "/{upload_id}",
    status_code=204,
    summary="Abort or remove an upload",
    responses=problem_responses(401, 403, 404, 422, 429, 503),
)
async def remove_upload(upload_id: UploadId, uploads: Uploads, owner: Owner) -> None:
    """Jobs that have begun keep their own copies."""
    await uploads.remove(owner, upload_id)
