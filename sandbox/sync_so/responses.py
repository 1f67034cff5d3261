"""Answers in the vendor's style: JSON errors, and both ways of saying 401."""

import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse


class ApiError(Exception):
    """A call that is refused: HTTP status, message, and the vendor's code when it has one."""

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
        """`listed`: a validation message, given as a list when the switch asks for that style."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.field = field
        self.headers = headers
        self.listed = listed
        self.members = members

    def response(self, message_style: str) -> JSONResponse:
        """The JSON body of the refusal."""
        as_list = self.listed and message_style == "array"
        body: dict[str, Any] = {
            "statusCode": self.status,
            "message": [self.message] if as_list else self.message,
            "error": HTTPStatus(self.status).phrase,
            "requestId": str(uuid.uuid4()),
        }
        if self.code is not None:
            body["errorCode"] = self.code
        if self.field is not None:
            body["field"] = self.field
        body.update(self.members)
        return JSONResponse(body, status_code=self.status, headers=self.headers)


def invalid(
    message: str, field: str | None = None, code: str = "generation_input_validation_failed"
) -> ApiError:
    """A 400 for a body that breaks a rule."""
    return ApiError(400, message, code, field=field, listed=True)


def missing_key() -> JSONResponse:
    """401 without any key, or with one in a header that the vendor does not read."""
    return JSONResponse(
        {
            "message": "Either Cookie or x-api-key header must be provided",
            "error": "Unauthorized",
            "statusCode": 401,
        },
        status_code=401,
    )


def wrong_key() -> JSONResponse:
    """401 for a key that is not one of ours."""
    return JSONResponse({"message": "Unauthorized", "statusCode": 401}, status_code=401)
