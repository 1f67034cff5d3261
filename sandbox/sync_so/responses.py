"""Errors in the vendor's JSON form."""

import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse


class ApiError(Exception):
    """A refused call.

    Args:
        status: the HTTP status.
        code: the vendor's `errorCode`, if it has one for this case.
        field: the member of the request that is wrong.
        listed: the message belongs to a validation, so that the switch `message_style` applies.
        members: further members of the body.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        listed: bool = False,
        **members: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field
        self.headers = headers
        self.listed = listed
        self.members = members

    def response(self, message_style: str) -> JSONResponse:
        """The error as a response."""
        message = str(self)
        body: dict[str, Any] = {
            "statusCode": self.status,
            "message": [message] if self.listed and message_style == "array" else message,
            "error": HTTPStatus(self.status).phrase,
            "requestId": str(uuid.uuid4()),
        }
        if self.code is not None:
            body["errorCode"] = self.code
        if self.field is not None:
            body["field"] = self.field
        return JSONResponse({**body, **self.members}, self.status, self.headers)


def invalid(
    message: str,
    field: str | None = None,
    code: str = "generation_input_validation_failed",
    status: int = 400,
) -> ApiError:
    """A body that breaks a rule."""
    return ApiError(status, message, code, field=field, listed=True)
