"""The gateway's own parts over the shared context, and the dependencies of its routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from gateway.app.context import GatewayContext
from gateway.auth.owner import CurrentOwner
from gateway.auth.rate_limits import Pace, Usage
from gateway.forms.admission import Places
from gateway.prefect_client.runs import Runs
from gateway.status.status_reader import StatusReader
from gateway.uploads.direct_uploads import DirectUploads, check_idempotency_key
from gateway.uploads.orphan_uploads import Leftovers


@dataclass(frozen=True)
class Services:
    """One of each per application.

    Attributes:
        runs: jobs in Prefect.
        status: cached reads of jobs.
        usage: bytes per owner.
        uploads: direct uploads.
        pace: requests per owner, but for statuses.
        status_pace: reads of statuses per owner.
        forms: bounds the forms that are received at the same time.
        leftovers: files of forms that are still to be removed.
    """

    runs: Runs
    status: StatusReader
    usage: Usage
    uploads: DirectUploads
    pace: Pace
    status_pace: Pace
    forms: Places
    leftovers: Leftovers


def open_services(context: GatewayContext) -> Services:
    """The parts of one application."""
    settings = context.settings
    runs = Runs(context)
    usage = Usage(context)
    return Services(
        runs=runs,
        status=StatusReader(context, runs),
        usage=usage,
        uploads=DirectUploads(context, usage),
        pace=Pace(settings.requests_per_second, settings.request_burst),
        status_pace=Pace(settings.status_reads_per_second, settings.status_read_burst),
        forms=Places(settings.forms_at_once, seconds=settings.form_queue_seconds),
        leftovers=Leftovers(),
    )


async def services_of(request: Request) -> Services:
    """The parts of the application that handles ``request``; async, as FastAPI would use a thread
    otherwise."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


Parts = Annotated[Services, Depends(services_of)]
"""For parameters of routes."""


async def paced_owner(request: Request, owner: CurrentOwner, services: Parts) -> str:
    """The caller, counted against the limit of requests."""
    request.scope.setdefault("state", {})["owner"] = owner
    services.pace.take(owner)
    return owner


Caller = Annotated[str, Depends(paced_owner)]
"""For parameters of routes: the name of the caller, within the limit of requests."""


async def polling_owner(request: Request, owner: CurrentOwner, services: Parts) -> str:
    """The caller, counted against the limit of statuses."""
    request.scope.setdefault("state", {})["owner"] = owner
    services.status_pace.take(owner)
    return owner


Poller = Annotated[str, Depends(polling_owner)]
"""For parameters of status routes: the name of the caller, within the limit of status reads."""


async def idempotency_key(
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            description="Same key and body: same job or upload, however often it is sent.",
            examples=["order-4711"],
        ),
    ] = None,
) -> str | None:
    """The client's key."""
    return check_idempotency_key(key)


IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]
"""For parameters of routes that create."""
