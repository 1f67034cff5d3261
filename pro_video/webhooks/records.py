"""Records of a job's webhooks in the bucket: their receiver, and the course of each delivery.

A delivery's record is written once before anything is sent, and has all that a worker needs to go
on with it: the message, the tries, and the time of the next one. It has no secret and no signed
link.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_serializer, field_validator

from pro_video.core.job_names import JobKeys
from pro_video.core.progress import Stage
from pro_video.records import Record
from pro_video.webhooks.signing import secret_key

EventType = Literal["job.completed", "job.failed", "job.cancelled", "job.stage"]

END_DELAYS: Final = (
    0.0,
    5.0,
    30.0,
    120.0,
    600.0,
    1800.0,
    3600.0,
    7200.0,
    14400.0,
    21600.0,
    36000.0,
)
"""Seconds before each try of a job's end: eleven in about a day."""

STAGE_DELAYS: Final = (0.0, 5.0, 30.0, 120.0, 600.0)
"""Seconds before each try of a stage's message, which is soon outdated."""

_ID = re.compile(r"msg_[0-9a-f]{32}_[a-z-]{1,60}_[0-9]{1,4}\Z")


class WebhookTarget(Record):
    """The receiver of a job's messages; a separate object, because it has the secret.

    Attributes:
        url: the receiver.
        events: the types of messages to send.
        secret: signs the messages, ``whsec_…``.
    """

    url: str
    events: tuple[EventType, ...]
    secret: SecretStr = Field(repr=False)

    @field_validator("secret")
    @classmethod
    def _is_secret(cls, value: SecretStr) -> SecretStr:
        secret_key(value.get_secret_value())
        return value

    @field_serializer("secret", when_used="json")
    def _open(self, value: SecretStr) -> str:
        return value.get_secret_value()


class Try(Record):
    """One try of a delivery.

    Attributes:
        at: its begin.
        seconds: its length.
        status: the receiver's HTTP status, None without a response.
        problem: the failure, safe to show.
    """

    at: datetime
    seconds: float
    status: int | None = None
    problem: str | None = None


class Delivery(Record):
    """One message and the course of its delivery.

    Attributes:
        webhook_id: the ``webhook-id`` of every try.
        job_id: the job of the message.
        type: of the message.
        timestamp: time of the event.
        data: the message's data, without links.
        target: the receiver's address without its query.
        state: ``pending`` until a try succeeds, the tries are used up, or the receiver is gone.
        tries: in their order.
        next_try_at: time of the next one.
    """

    webhook_id: str
    job_id: str
    type: EventType
    timestamp: datetime
    data: dict[str, Any]
    target: str
    state: Literal["pending", "delivered", "failed", "gone"] = "pending"
    tries: tuple[Try, ...] = ()
    next_try_at: datetime | None = None

    @property
    def delays(self) -> Sequence[float]:
        """Seconds before each try."""
        return STAGE_DELAYS if self.type == "job.stage" else END_DELAYS

    def after(self, made: Try, *, pause: float | None) -> Delivery:
        """With one more try that did not succeed.

        Args:
            made: the try.
            pause: seconds until the next one; None for no further one.
        """
        return self.model_copy(
            update={
                "tries": (*self.tries, made),
                "state": "failed" if pause is None else "pending",
                "next_try_at": None
                if pause is None
                else made.at + timedelta(seconds=made.seconds + pause),
            }
        )


def webhook_id(job_id: str, type_: EventType, round_: int, stage: Stage | None = None) -> str:
    """Id of a message, the same at each announcement.

    Args:
        job_id: the job.
        type_: of the message.
        round_: 1 at first; each retry by hand adds 1.
        stage: of a ``job.stage``.
    """
    what = type_.removeprefix("job.")
    if stage is not None:
        what += "-" + stage.label.replace(" ", "-")
    return f"msg_{job_id.replace('-', '')}_{what}_{round_}"


def target_key(job_id: str) -> str:
    """Object of a job's :class:`WebhookTarget`."""
    return JobKeys(job_id).record("webhook")


def gone_key(job_id: str) -> str:
    """Object that exists once the receiver has answered 410 (gone)."""
    return JobKeys(job_id).record("webhook-gone")


def delivery_key(job_id: str, message_id: str) -> str:
    """Object of a :class:`Delivery`.

    Raises:
        ValueError: not an id of this job's messages.
    """
    if not _ID.match(message_id) or job_id.replace("-", "") not in message_id:
        raise ValueError(f"not a message of the job {job_id}")
    return f"{deliveries_prefix(job_id)}{message_id}.json"


def deliveries_prefix(job_id: str) -> str:
    """The common prefix of the keys of a job's deliveries."""
    return f"{JobKeys(job_id).prefix}webhooks/"


def shown_address(url: str) -> str:
    """A receiver's address without user and query, which may be secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"[:500]
