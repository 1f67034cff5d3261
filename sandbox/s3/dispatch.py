"""The way of a request from its head to its response: route, count, fail on demand, check, act."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter

from starlette.types import Receive, Scope, Send

from sandbox.common.faults import Fault, FaultQueue
from sandbox.common.http_faults import MAX_DELAY, cut
from sandbox.s3.errors import S3Error
from sandbox.s3.faults import Cut, Pace, error_of
from sandbox.s3.messages.body import Disconnected
from sandbox.s3.messages.request import Request
from sandbox.s3.messages.response import Response, error_response
from sandbox.s3.operations.cors import actual_headers, preflight
from sandbox.s3.operations.object_headers import check_supported
from sandbox.s3.router import route
from sandbox.s3.sending import send_response
from sandbox.s3.service import Call, Handler, Service
from sandbox.s3.verification.signature import authenticate

logger = logging.getLogger(__name__)


class Dispatcher:
    """S3's requests, as an ASGI application."""

    def __init__(self, service: Service, faults: FaultQueue) -> None:
        self._service = service
        self._faults = faults
        self.requests: Counter[str] = Counter()
        """Requests by operation since the start."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response: Response | None = None
        try:
            response, fault = await self._answer(request, scope)
            await self._service.blobs.collect()
            await send_response(scope, receive, send, request, response, fault)
        except Disconnected:
            await cut(scope, receive)
        finally:
            if response is not None:
                response.release()
            await self._service.blobs.collect()

    async def _answer(self, request: Request, scope: Scope) -> tuple[Response, Fault | None]:
        """The response, and the fault that acts on sending it."""
        fault: Fault | None = None
        try:
            request.read_target(scope)
            # Routed first, so that even refused requests are counted under their operation.
            handler = _handler(request)
            self.requests[request.operation] += 1
            fault = self._faults.take(
                request.operation, bucket=request.bucket, key=request.key, method=request.method
            )
            response = await self._act(request, handler, fault)
        except S3Error as error:
            response = error_response(error, request)
        except (OSError, sqlite3.Error):
            # A full disk or a broken data folder; the details are for the operator only.
            logger.exception("%s failed", request.operation)
            response = error_response(S3Error("InternalError"), request)
        for name, value in actual_headers(self._service.catalog, request).items():
            response.headers.setdefault(name, value)
        return response, fault

    async def _act(
        self, request: Request, handler: Handler | S3Error, fault: Fault | None
    ) -> Response:
        if request.method == "OPTIONS" and request.bucket is not None:
            return preflight(self._service.catalog, request)
        kind = fault.kind if fault is not None else ""
        if fault is not None:
            await _disturb(request, fault)
        if fault is not None and kind == "200_error":
            response = error_response(error_of(fault), request)
            response.status = 200
            return response
        service = self._service
        authorization = authenticate(request, service.credentials, service.region, service.now())
        if isinstance(handler, S3Error):
            raise handler
        check_supported(request.headers)
        if kind == "ignore_range":
            request.headers.pop("range", None)
        if kind == "ignore_condition":
            request.headers.pop("if-match", None)
            request.headers.pop("if-none-match", None)
        if kind == "pretend":
            return Response(204)
        response = await handler(Call(service, request, authorization))
        if kind == "no_checksum":
            for name in [each for each in response.headers if each.startswith("x-amz-checksum-")]:
                del response.headers[name]
        return response


def _handler(request: Request) -> Handler | S3Error:
    """The handler of the request, or a refusal that is sent once the signature is checked."""
    try:
        request.operation, handler = route(request)
    except S3Error as error:
        return error
    return handler


async def _disturb(request: Request, fault: Fault) -> None:
    """The faults that come before the request is acted on, or while its body is read."""
    if fault.kind in ("500", "503_slow_down", "error"):
        raise error_of(fault)
    if fault.kind == "delay":
        await asyncio.sleep(min(fault.number("seconds", 1.0), MAX_DELAY))
    elif fault.kind == "drop_connection":
        # At the latest before the last byte, so that nothing is done.
        last = (request.body.declared_length or 1) - 1
        limit = min(int(fault.number("after_bytes", 0)), last)
        if limit == 0:
            raise Disconnected
        request.body.pace = Cut(limit)
    elif fault.kind == "slow":
        request.body.pace = Pace(fault)
