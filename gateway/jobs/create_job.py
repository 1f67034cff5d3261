"""The end of both ways to create a job: make the run, store its receiver, answer."""

from __future__ import annotations

import logging
from uuid import UUID

from gateway.base.problems import ProblemError
from gateway.jobs.views import JobCreated, created_view
from gateway.jobs.webhook_config import WebhookBody, keep_webhook
from gateway.prefect_client.runs import NewJob, Runs
from pro_video.core.errors import ProVideoError
from pro_video.s3.storage import Storage

logger = logging.getLogger("pro_video.gateway.jobs")


async def create_job(
    runs: Runs, storage: Storage, job: NewJob, webhook: WebhookBody | None
) -> tuple[JobCreated, bool]:
    """A new job, or the one that the same key made before; and whether it is new.

    Raises:
        ProblemError: as :meth:`Runs.create`.
        ProVideoError: the receiver could not be stored. A new job is cancelled then, unless a
            repetition with its key can still store it.
    """
    run, is_new = await runs.create(job)
    view = created_view(run)
    if webhook is None:
        return view, is_new
    try:
        secret = await keep_webhook(storage, str(run.id), webhook)
    except ProVideoError:
        if job.idempotency_key is None:
            try:
                await runs.cancel(job.owner, UUID(view.job_id))
            except ProblemError as problem:
                logger.warning(
                    "Could not cancel the job: %s", problem.code, extra={"job_id": view.job_id}
                )
        raise
    return view.model_copy(update={"webhook_secret": secret}), is_new
