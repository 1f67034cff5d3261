"""Records of a job's webhooks in the bucket: their receiver, and the course of each delivery.

A delivery's record is written before anything is sent, once, and says all that a worker needs to
go on with it: what happened, which tries were made, when the next one is due. It holds no secret
and no signed link.
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
EVENT_TYPES: Final[tuple[EventType, ...]] = (
    "job.completed",
    "job.failed",
    "job.cancelled",
    "job.stage",
)

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
"""The same for a stage, whose news is soon of no use."""

_ID = re.compile(r"msg_[0-9a-f]{32}_[a-z-]{1,60}_[0-9]{1,4}\Z")


class WebhookTarget(Record):
    """The receiver of a job's messages; an object of its own, because it holds the secret.

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
        at: when it began.
        seconds: how long it took.
        status: the receiver's HTTP status, None without an answer.
        problem: the failure, safe to show.
    """

    at: datetime
    seconds: float
    status: int | None = None
    problem: str | None = None


class Delivery(Record):
    """One message and how its delivery goes.

    Attributes:
        webhook_id: the ``webhook-id`` of every try.
        job_id: the job of the message.
        type: of the message.
        timestamp: when it happened.
        data: the message's data, without links.
        target: the receiver's address without its query.
        state: ``pending`` until a try succeeds, the tries are used up, or the receiver says that
            the address is gone.
        tries: in their order.
        next_try_at: when the next one is due.
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
    """Id of a message: the same each time that it is announced.

    Args:
        job_id: the job.
        type_: of the message.
        round_: 1 for a job's first way to an end; each retry by hand begins another.
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
    """Object that is there once the receiver has said that its address is gone."""
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
    """A receiver's address as it may be shown: without user and query, which may be secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"[:500]
