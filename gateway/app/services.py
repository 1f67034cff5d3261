"""Makes the shared objects of one application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from gateway.app.health import ReadinessCheck
from gateway.auth.rate_limits import RateLimits
from gateway.auth.token_store import TokenStore
from gateway.base.services import Services
from gateway.base.settings import GatewaySettings
from gateway.bucket.bucket import Bucket
from gateway.callbacks.routes import CallbackHandler
from gateway.callbacks.secrets import ProviderSecrets
from gateway.events.hub import EventHub
from gateway.events.routes import EventStreams
from gateway.forms.admission import FormAdmission
from gateway.jobs.form_jobs import FormJobs
from gateway.prefect_client.api import PrefectApi
from gateway.prefect_client.loop import open_prefect_loop
from gateway.prefect_client.runs import Runs
from gateway.status.status_reader import StatusReader
from gateway.uploads.direct_uploads import DirectUploads
from gateway.uploads.orphan_uploads import OrphanUploads
from gateway.uploads.sweeper import Sweeper
from gateway.uploads.usage import StorageUsage


@contextlib.asynccontextmanager
async def open_services(settings: GatewaySettings) -> AsyncIterator[Services]:
    """The shared objects, for the life of the application. No server needs to answer yet."""
    async with open_prefect_loop() as prefect:
        services = Services()
        services.add(settings)
        services.add(RateLimits.of(settings))
        services.add(TokenStore(settings, prefect))
        api = services.add(PrefectApi(prefect, timeout=settings.upstream_seconds))
        bucket = services.add(Bucket(prefect, timeout=settings.upstream_seconds))
        services.add(ReadinessCheck(settings, api, bucket))
        runs = services.add(Runs(settings, api))
        usage = StorageUsage(settings, bucket)
        services.add(DirectUploads(settings, bucket, usage))
        orphans = OrphanUploads()
        services.add(Sweeper(settings, bucket, runs, orphans))
        admission = FormAdmission(settings.forms_at_once, seconds=settings.form_queue_seconds)
        services.add(FormJobs(settings, bucket, runs, usage, admission, orphans))
        statuses = services.add(StatusReader(settings, api, bucket, runs))
        hub = EventHub(api, runs, statuses, look_seconds=settings.events_look_seconds)
        services.add(EventStreams(settings, hub))
        services.add(CallbackHandler(settings, api, ProviderSecrets.of(settings)))
        try:
            yield services
        finally:
            await statuses.close()
