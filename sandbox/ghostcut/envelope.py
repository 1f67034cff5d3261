"""The envelope around every answer of the vendor's gateway, and its error codes.

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
DATA_SAVE_ERROR = 3001
DATA_UPDATE_ERROR = 3002
ID_NOT_EXISTED = 3003
LIMIT_ERROR = 3006
DATA_ERROR = 3007
URLS_ERROR = 3008
BAD_PARAMETER = 4001
SYSTEM_ERROR = 9999

MESSAGES = {
    SUCCESS: "success",
    SIGN_REQUISITE: "Requires Http header AppKey & AppSign",
    POST_ONLY: "HttpMethod must be POST",
    KEY_INVALID: "AppKey is invalid",
    SIGN_INVALID: "AppSign is invalid",
    DATA_SAVE_ERROR: "Data process failure",
    DATA_UPDATE_ERROR: "Data update failure",
    ID_NOT_EXISTED: "Id not existed",
    LIMIT_ERROR: "Data process Limit",
    DATA_ERROR: "At least one identity is required",
    URLS_ERROR: "urls is required",
    BAD_PARAMETER: "Parameter error",
    SYSTEM_ERROR: "System error",
}


class RejectedError(Exception):
    """The call is refused with an envelope code; nothing was accepted or charged."""

    def __init__(self, code: int, msg: str | None = None) -> None:
        self.code = code
        self.msg = msg if msg is not None else MESSAGES.get(code, "Business error")
        super().__init__(f"{code} {self.msg}")


def answer(
    body: Any,
    *,
    code: int = SUCCESS,
    msg: str | None = None,
    trace: bool = True,
    count: int | None = None,
) -> Response:
    """Wrap `body`; `trace=False` leaves the trace id out, `count` adds the top-level total."""
    content: dict[str, Any] = {"msg": msg if msg is not None else MESSAGES.get(code, "")}
    if trace:
        content["trace"] = secrets.token_hex(16)
    content["code"] = code
    content["body"] = body
    if count is not None:
        content["count"] = count
    return Response(dump(content), media_type="application/json;charset=UTF-8")
