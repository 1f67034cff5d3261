"""A provider as a paid attempt uses it: its names, and the calls that are made of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from pro_video.core.errors import ProVideoError
from pro_video.core.progress import Stage
from pro_video.core.settings import get_settings
from pro_video.core.waiting import Observation

T = TypeVar("T")

MOST_READ: Final = 100
"""Jobs that one request reads."""


@dataclass(frozen=True)
class AcceptedJob:
    """A job that a provider has accepted.

    Attributes:
        id: the provider's id of it.
        response: the provider's answer without signed links, for the job's metadata.
    """

    id: str
    response: Mapping[str, Any]


class Provider(ABC, Generic[T]):
    """The calls of one provider, on an open client; ``T`` is its job as it is read.

    Attributes:
        step: ``lip-sync`` or ``inpainting``.
        name: the provider's name in texts.
        job_name: the name of its jobs in texts.
        slug: the provider's name in the addresses of its callbacks.
        fact: the fact of a job that holds the id of the provider's job.
        stage: the row of the progress table that fills up while the provider works.
    """

    step: str
    name: str
    job_name: str
    slug: str
    fact: str
    stage: Stage

    @property
    @abstractmethod
    def deadline_hours(self) -> float:
        """Longest wait for a job, in hours."""

    @property
    def search_seconds(self) -> float:
        """How long the provider's listing may lag behind a submit, in seconds; 0 is one look."""
        return get_settings().orphan_search_seconds

    @abstractmethod
    async def send(
        self, body: bytes, reference: str, before_sending: Callable[[], None]
    ) -> AcceptedJob:
        """Send the exact bytes once.

        Args:
            body: the request.
            reference: name of the attempt.
            before_sending: called directly before the bytes leave; it raises when nothing may be
                sent any more.

        Raises:
            OutcomeUnknown: the answer is lost.
        """

    @abstractmethod
    async def find(
        self, references: Sequence[str], *, since: datetime, until: datetime
    ) -> AcceptedJob | None:
        """Look once for a job under one of the references, among those that were created between
        the two times."""

    @abstractmethod
    async def adopt(self, job_id: str) -> AcceptedJob:
        """A job that the provider itself has named."""

    @abstractmethod
    async def read(self, job_id: str) -> T:
        """Read a job; an error says nothing about how the job ended."""

    @abstractmethod
    async def read_many(self, job_ids: Sequence[str]) -> dict[str, T]:
        """Read at most :data:`MOST_READ` jobs with one request; those that the provider leaves out
        are missing, which says nothing about them."""

    def still_running(self, found: T) -> Observation[T] | None:
        """A job as it was read, while it goes on; None when it has ended, well or not."""
        try:
            seen = self.observe(found)
        except ProVideoError:
            return None
        return None if seen.done else seen

    @abstractmethod
    def observe(self, found: T) -> Observation[T]:
        """Interpret a job as it was read.

        Raises:
            ResultLocked: it ended well, and its result is withheld until the account pays.
            TerminalError: the provider says that it ended badly.
        """

    @abstractmethod
    async def result_url(self, job_id: str) -> str:
        """A link to a finished job's result that works now.

        Raises:
            TransientError: the provider names none yet.
        """
