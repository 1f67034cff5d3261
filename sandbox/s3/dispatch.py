"""The way of a request from its head to its response: route, count, fail on demand, check, act."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time

from sandbox.s3.control import Control, Counts
from sandbox.s3.errors import S3Error
from sandbox.s3.faults import Fault, FaultQueue
from sandbox.s3.messages.request import Request, Response
from sandbox.s3.operations.cors import actual_headers, preflight
from sandbox.s3.operations.description import check_supported
from sandbox.s3.router import route
from sandbox.s3.service import Call, Handler, Service, xml_response
from sandbox.s3.verification.signature import authenticate
from sandbox.s3.wire import ConnectionDropped

logger = logging.getLogger(__name__)

MAX_DELAY_SECONDS = 3600.0


class Pace:
    """Slows a stream of bytes down to a rate; `stopping` ends the waiting early."""

    def __init__(self, bytes_per_second: float, stopping: threading.Event) -> None:
        self._rate = max(bytes_per_second, 1.0)
        self._stopping = stopping
        self._start = time.monotonic()
        self._moved = 0

    def __call__(self, count: int) -> None:
        self._moved += count
        ahead = self._moved / self._rate - (time.monotonic() - self._start)
        if ahead > 0 and self._stopping.wait(min(ahead, MAX_DELAY_SECONDS)):
            raise ConnectionDropped("the server stops")


class Dispatcher:
    """Answers requests; the socket side is in server.py."""

    def __init__(self, service: Service, stopping: threading.Event) -> None:
        self._service = service
        self._stopping = stopping
        self._faults = FaultQueue()
        self._counts = Counts()
        self._control = Control(service, self._faults, self._counts)

    def answer(self, request: Request, peer: str) -> tuple[Response, Fault | None]:
        """The response, and the fault that acts on sending it. Raises only ConnectionDropped."""
        if request.bucket == Control.BUCKET:
            return self._control.answer(request, peer), None
        fault: Fault | None = None
        status = 0
        try:
            # Routed first, so that even refused requests are counted under their operation.
            handler = self._route(request)
            fault = self._faults.take(request)
            response = self._act(request, handler, fault)
            status = response.status
        except S3Error as error:
            status = error.status
            response = error_response(error, request.path, request.id)
        except (OSError, sqlite3.Error):
            # A full disk or a broken data folder; the details are for the operator only.
            logger.exception("%s failed", request.operation)
            status = 500
            response = error_response(S3Error("InternalError"), request.path, request.id)
        finally:
            self._counts.add(request.operation, status)
        for name, value in actual_headers(self._service.catalog, request).items():
            response.headers.setdefault(name, value)
        return response, fault

    def _route(self, request: Request) -> Handler | S3Error:
        try:
            request.operation, handler = route(request)
        except S3Error as error:
            return error
        return handler

    def _act(self, request: Request, handler: Handler | S3Error, fault: Fault | None) -> Response:
        if request.method == "OPTIONS" and request.bucket is not None:
            request.operation = "options_object"
            return preflight(self._service.catalog, request)
        if fault is not None:
            early = self._before(fault, request)
            if early is not None:
                return early
        service = self._service
        authorization = authenticate(request, service.credentials, service.region, service.now())
        if isinstance(handler, S3Error):
            raise handler
        check_supported(request.headers)
        if fault is not None and fault.kind == "ignore_range":
            request.headers.pop("range", None)
        if fault is not None and fault.kind == "ignore_condition":
            request.headers.pop("if-match", None)
            request.headers.pop("if-none-match", None)
        if fault is not None and fault.kind == "pretend":
            return Response(204)
        response = handler(Call(service, request, authorization))
        if fault is not None and fault.kind == "no_checksum":
            for name in [each for each in response.headers if each.startswith("x-amz-checksum-")]:
                del response.headers[name]
        return response

    def _before(self, fault: Fault, request: Request) -> Response | None:
        """Acts on the request; a response ends it there."""
        if fault.kind in ("500", "503_slow_down", "error"):
            raise fault.error()
        if fault.kind == "200_error":
            response = error_response(fault.error(), request.path, request.id)
            response.status = 200
            return response
        if fault.kind == "delay":
            if self._stopping.wait(min(fault.number("seconds", 1.0), MAX_DELAY_SECONDS)):
                raise ConnectionDropped("the server stops")
        elif fault.kind == "drop_connection":
            # At the latest before the last byte, so that nothing is done.
            last = (request.body.declared_length or 1) - 1
            limit = min(int(fault.number("after_bytes", 0)), last)
            if limit == 0:
                raise ConnectionDropped("an injected fault")
            request.body.pace = _Cut(limit)
        elif fault.kind == "slow":
            request.body.pace = self.pace(fault)
        return None

    def pace(self, fault: Fault) -> Pace:
        return Pace(fault.number("bytes_per_second", 65536), self._stopping)


class _Cut:
    """Ends the connection once `limit` bytes of a body were read."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def __call__(self, count: int) -> None:
        self._left -= count
        if self._left <= 0:
            raise ConnectionDropped("an injected fault")


def error_response(error: S3Error, path: str, request_id: str) -> Response:
    response = xml_response(error.document(path, request_id))
    response.status = error.status
    response.headers.update(error.headers)
    return response
