"""The envelope around every response of the vendor's gateway, and its codes.

Source: vendor docs, "error codes". Business errors travel with HTTP status 200.
"""

import secrets
from typing import Any

from starlette.responses import Response

from sandbox.common.json_text import dump

SUCCESS = 1000
SIGN_REQUISITE = 2001
POST_ONLY = 2002
KEY_INVALID = 2003
SIGN_INVALID = 2004
ID_NOT_EXISTED = 3003
LIMIT_ERROR = 3006
URLS_ERROR = 3008
BAD_PARAMETER = 4001

MESSAGES = {
    SUCCESS: "success",
    SIGN_REQUISITE: "Requires Http header AppKey & AppSign",
    POST_ONLY: "HttpMethod must be POST",
    KEY_INVALID: "AppKey is invalid",
    SIGN_INVALID: "AppSign is invalid",
    3001: "Data process failure",
    3002: "Data update failure",
    ID_NOT_EXISTED: "Id not existed",
    LIMIT_ERROR: "Data process Limit",
    3007: "At least one identity is required",
    URLS_ERROR: "urls is required",
    BAD_PARAMETER: "Parameter error",
    9999: "System error",
}


class RejectedError(Exception):
    """The call is refused with an envelope code; nothing was accepted or charged."""

    def __init__(self, code: int, message: str | None = None) -> None:
        self.code = code
        self.message = message or MESSAGES.get(code, "Business error")
        super().__init__(f"{code} {self.message}")


def envelope(
    body: Any, code: int = SUCCESS, message: str = "success", *, trace: bool, count: int | None
) -> Response:
    """Wrap `body`; `trace` includes the trace id, `count` adds the total beside the body."""
    content: dict[str, Any] = {"msg": message}
    if trace:
        content["trace"] = secrets.token_hex(16)
    content.update(code=code, body=body)
    if count is not None:
        content["count"] = count
    return Response(dump(content), media_type="application/json;charset=UTF-8")
