"""Direct uploads: the client sends large files straight to the bucket."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import ValidationError

from gateway.app.services import Caller, IdempotencyKey, Parts
from gateway.base.json_body import read_object
from gateway.base.problems import FieldProblem, invalid, problem_responses
from gateway.uploads.direct_uploads import UPLOAD_ID, UploadRequest, UploadView
from pro_video.request.check import problems_from_validation

router = APIRouter(prefix="/api/v1/uploads", tags=["uploads"])

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
    request: Request, response: Response, services: Parts, owner: Caller, key: IdempotencyKey
) -> UploadView:
    """PUT each part to its link, then complete; what is not completed in time is removed."""
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
    upload, is_new = await services.uploads.create(owner, wanted, key)
    response.status_code = 201 if is_new else 200
    return upload


@router.get(
    "/{upload_id}",
    summary="One upload, with links for what is missing",
    responses=problem_responses(401, 403, 404, 410, 422, 429, 503),
)
async def get_upload(upload_id: UploadId, services: Parts, owner: Caller) -> UploadView:
    """For a client that resumes."""
    return await services.uploads.get(owner, upload_id)


@router.post(
    "/{upload_id}/complete",
    summary="Complete an upload",
    responses=problem_responses(401, 403, 404, 409, 410, 422, 429, 503),
)
async def complete_upload(upload_id: UploadId, services: Parts, owner: Caller) -> UploadView:
    """The parts are checked by the gateway; nothing needs to be sent."""
    return await services.uploads.complete(owner, upload_id)


@router.delete(
    "/{upload_id}",
    status_code=204,
    summary="Abort or remove an upload",
    responses=problem_responses(401, 403, 404, 422, 429, 503),
)
async def remove_upload(upload_id: UploadId, services: Parts, owner: Caller) -> None:
    """Jobs that have begun keep their own copy."""
    await services.uploads.remove(owner, upload_id)
