"""The front of every call: key, rate limit, faults, and errors in the vendor's form."""

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.common.faults import Fault
from sandbox.common.http_faults import answer
from sandbox.sync_so.emulator import Emulator
from sandbox.sync_so.responses import ApiError

Handler = Callable[[Emulator, Request], Awaitable[Response]]


def endpoint(
    emulator: Emulator,
    path: str,
    call: str | None,
    handler: Handler,
    *,
    methods: Sequence[str] = ("GET",),
    authenticated: bool = True,
) -> Route:
    """A route of the emulator.

    `call` names it for faults, which the handler finds in `request.state.fault`; None leaves the
    faults to the handler.
    """

    async def serve(request: Request) -> Response:
        if authenticated and (refusal := _check_key(emulator, request)) is not None:
            return refusal
        try:
            _check_rate(emulator, request)
            if call is None:
                return await handler(emulator, request)
        except ApiError as error:
            return error.response(emulator.switches["message_style"])
        fault = emulator.faults.take(call, **request.path_params)
        request.state.fault = fault
        return await under_fault(emulator, request, fault, lambda: handler(emulator, request))

    return Route(path, serve, methods=list(methods))


async def under_fault(
    emulator: Emulator,
    request: Request,
    fault: Fault | None,
    handle: Callable[[], Awaitable[Response]],
) -> Response:
    """The response of `handle`, an ApiError included, as the fault lets it through."""

    async def accept() -> Response:
        try:
            return await handle()
        except ApiError as error:
            return error.response(emulator.switches["message_style"])

    return await answer(request.scope, fault, accept, _vendor_faults(emulator))


def _check_key(emulator: Emulator, request: Request) -> Response | None:
    key = request.headers.get("x-api-key")
    if key is None:
        message = "Either Cookie or x-api-key header must be provided"
        return JSONResponse({"message": message, "error": "Unauthorized", "statusCode": 401}, 401)
    if not any(hmac.compare_digest(key.encode(), own.encode()) for own in emulator.api_keys):
        return JSONResponse({"message": "Unauthorized", "statusCode": 401}, 401)
    return None


def _check_rate(emulator: Emulator, request: Request) -> None:
    create = request.method == "POST" and request.url.path.rstrip("/") == "/v2/generate"
    limit = emulator.switches["creates_per_minute" if create else "reads_per_minute"]
    wait = (emulator.creates if create else emulator.reads).take(limit)
    if wait is not None:
        raise _rate_limited(emulator, wait)


def _rate_limited(emulator: Emulator, wait: float) -> ApiError:
    code = "rate_limit_exceeded" if emulator.switches["rate_limit_error_code"] else None
    message = "Rate limit exceeded. Please try again later."
    return ApiError(429, message, code, headers=_retry_after(emulator, wait))


def concurrency_limited(emulator: Emulator, active: int, limit: int) -> ApiError:
    """The 429 for a create while `active` generations reach the limit."""
    return ApiError(
        429,
        "Concurrency limit reached. Please wait for a generation to finish.",
        "concurrency_limit_reached",
        headers=_retry_after(emulator, 10),
        activeGenerations=active,
        concurrencyLimit=limit,
        retryAfterSeconds=10,
        upgradeUrl="https://sync.so/billing",
    )


def _retry_after(emulator: Emulator, seconds: float) -> dict[str, str]:
    if not emulator.switches["retry_after_header"]:
        return {}
    return {"Retry-After": str(max(1, round(seconds)))}


def _vendor_faults(emulator: Emulator) -> Mapping[str, Callable[[Fault], Response]]:
    """Both kinds of 429 with the vendor's bodies."""
    style = emulator.switches["message_style"]

    def rate(fault: Fault) -> Response:
        response = _rate_limited(emulator, 1).response(style)
        if "retry_after" in fault.params:
            response.headers["Retry-After"] = str(fault.params["retry_after"])
        return response

    def concurrency(fault: Fault) -> Response:
        limit = int(fault.number("limit", 1))
        error = concurrency_limited(emulator, limit, limit)
        if "retry_after" in fault.params:
            error.members["retryAfterSeconds"] = fault.params["retry_after"]
        return error.response(style)

    return {"429_rate": rate, "429_concurrency": concurrency}
