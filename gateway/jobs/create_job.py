"""The last steps of every way to a job: make the run, keep its receiver, answer."""

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
    """Make a job, or find the one that the same key made before; says whether it is new.

    Raises:
        ProblemError: as :meth:`Runs.create`.
        ProVideoError: its receiver could not be kept; a job that is new is cancelled then.
    """
    run, is_new = await runs.create(job)
    view = created_view(run)
    if webhook is None:
        return view, is_new
    try:
        secret = await keep_webhook(storage, str(run.id), webhook)
    except ProVideoError:
        if job.idempotency_key is None:
            # Without a key, no request could be repeated for this very job.
            await _withdraw(runs, job.owner, view)
        raise
    return view.model_copy(update={"webhook_secret": secret}), is_new


async def _withdraw(runs: Runs, owner: str, view: JobCreated) -> None:
    try:
        await runs.cancel(owner, UUID(view.job_id))
    except ProblemError as problem:
        logger.warning("Could not cancel the job: %s", problem.code, extra={"job_id": view.job_id})
