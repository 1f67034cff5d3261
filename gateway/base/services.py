"""The shared objects of one application, one of each class, as parameters of its routes."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Depends
from starlette.requests import HTTPConnection

from gateway.base.settings import GatewaySettings

T = TypeVar("T")


class Services:
    """The objects that the requests to one application share, by their classes."""

    def __init__(self) -> None:
        self._by_class: dict[type, object] = {}

    def add(self, service: T) -> T:
        """Share an object; it takes the place of an earlier one of its class."""
        self._by_class[type(service)] = service
        return service

    def __getitem__(self, kind: type[T]) -> T:
        service = self._by_class[kind]
        assert isinstance(service, kind)
        return service


def services_of(app: Any) -> Services:
    """The shared objects of an application; its lifespan sets them."""
    services = app.state.services
    assert isinstance(services, Services)
    return services


def service(kind: type[T]) -> Any:
    """A route's dependency on the shared object of a class, for ``Annotated``."""

    # Asynchronous, as FastAPI would call it in a thread otherwise.
    async def find(connection: HTTPConnection) -> T:
        return services_of(connection.app)[kind]

    return Depends(find)


Settings = Annotated[GatewaySettings, service(GatewaySettings)]
"""For parameters of routes: the settings of the gateway."""
