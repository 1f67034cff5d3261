"""The `webhook` of a request: the receiver of a job's messages, checked and stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from gateway.base.problems import FieldProblem, unavailable
from pro_video.core.errors import SourceRefused, TransferInterrupted
from pro_video.core.settings import get_settings
from pro_video.net.gate import Gate
from pro_video.request.problems import problems_from_validation
from pro_video.s3.storage import Storage
from pro_video.webhooks.records import EventType
from pro_video.webhooks.signing import SecretUnusable, secret_key
from tasks.webhooks.announce import TAG, keep_target

_ENDS: tuple[EventType, ...] = ("job.completed", "job.failed", "job.cancelled")
_LOOKUP_SECONDS = 10.0


class WebhookBody(BaseModel):
    """The receiver of a job's messages, which are signed after Standard Webhooks."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    url: str = Field(
        min_length=8,
        max_length=4096,
        description="The receiver; a public http(s) address.",
        examples=["https://example.com/hooks/pro-video"],
    )
    events: list[EventType] = Field(
        default_factory=lambda: list(_ENDS),
        min_length=1,
        max_length=len(get_args(EventType)),
        description="Events to send; by default the three ends.",
    )
    secret: SecretStr | None = Field(
        None,
        description="whsec_… and the base64 of 24 to 64 random bytes; left out: one is made and "
        "returned.",
    )


async def checked_webhook(raw: object, problems: list[FieldProblem]) -> WebhookBody | None:
    """The receiver of a request; None when it has none, or a wrong one. Adds to ``problems``."""
    if raw is None:
        return None

    def problem(field: str, code: str, message: str) -> None:
        problems.append(FieldProblem(field=field, code=code, message=message))

    try:
        webhook = WebhookBody.model_validate(raw)
    except ValidationError as error:
        for found in problems_from_validation(error, "webhook"):
            problem(found.field, found.code, found.message)
        return None
    if webhook.secret is not None:
        try:
            secret_key(webhook.secret.get_secret_value())
        except SecretUnusable as unusable:
            problem("webhook.secret", "secret_unusable", str(unusable))
    await _check_address(webhook.url, problem)
    return webhook


async def _check_address(url: str, problem: Callable[[str, str, str], None]) -> None:
    gate = Gate(allow_private=get_settings().allow_private_addresses)
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            await asyncio.to_thread(gate.check, url)
    except SourceRefused as refused:
        problem(
            "webhook.url",
            refused.code or "address_refused",
            "must be a public http(s) address; this one is not allowed",
        )
    except (TransferInterrupted, TimeoutError):
        raise unavailable("The name server") from None


def webhook_tags(webhook: WebhookBody | None) -> tuple[str, ...]:
    """Tags of a job that has a receiver."""
    return () if webhook is None else (TAG,)


def webhook_content(webhook: WebhookBody | None) -> Any:
    """The content that tells two requests with the same key apart."""
    if webhook is None:
        return None
    secret = webhook.secret.get_secret_value() if webhook.secret else None
    return [webhook.url, webhook.events, secret]


async def keep_webhook(storage: Storage, job_id: str, webhook: WebhookBody) -> str:
    """Store the receiver with the job, and return the secret that signs its messages.

    Raises:
        ProVideoError: the bucket did not store it.
    """
    secret = webhook.secret.get_secret_value() if webhook.secret else None
    return await keep_target(storage, job_id, url=webhook.url, events=webhook.events, secret=secret)
