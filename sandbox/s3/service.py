"""Common resources of the handlers: the catalog, the blobs, the identity, the clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sandbox.s3.messages.request import Request
from sandbox.s3.messages.response import Response
from sandbox.s3.storage.blobs import Blobs
from sandbox.s3.storage.catalog import Catalog
from sandbox.s3.storage.uploads import Uploads
from sandbox.s3.verification.signature import Authorization, Credentials

XML_LIMIT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Service:
    """`now` gives seconds since the epoch."""

    catalog: Catalog
    uploads: Uploads
    blobs: Blobs
    credentials: Credentials
    region: str
    now: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request on its way through a handler."""

    service: Service
    request: Request
    authorization: Authorization

    @property
    def bucket(self) -> str:
        return self.request.bucket or ""

    @property
    def key(self) -> str:
        return self.request.key or ""


Handler = Callable[[Call], Awaitable[Response]]
