"""Models of the two providers: what they accept, bill and tell, and the rules that a payer has to
keep, checked at the moment of each acceptance."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Literal

from pro_video.core.errors import (
    AccountBlocked,
    CredentialsRefused,
    OutcomeUnknown,
    ProVideoError,
    ProviderRefused,
    RateLimited,
    RequestConflict,
    ServiceUnavailable,
    SlotUnavailable,
)
from tests.properties.environment import Environment

How = Literal["success", "retryable", "permanent", "no-points", "locked"]
LOST_AFTER = 60.0
"""Seconds after which a sender gives an answer up."""
LONGEST_LAG = 110.0
"""Seconds until a listing shows a job: what a search covers, less the time of a send."""
FROZEN = 900.0
"""Seconds for which a machine stands still; long enough for a successor to send."""
SKEW = 600.0
"""Seconds that the clocks of a provider and of a worker may differ, as the clients allow."""


@dataclass
class Plan:
    """The course of a job: its end, the time of that and of its listing, in seconds."""

    how: How = "success"
    seconds: float = 60.0
    lag: float = 0.0


@dataclass
class ProviderJob:
    id: str
    reference: str
    attempt: int
    accepted_at: float
    listed_at: float
    ends_at: float
    how: How
    shown_failed: bool = False

    @property
    def bought(self) -> bool:
        """Is it billed, now or later?"""
        return self.how in ("success", "locked")


class ProviderModel:
    """One provider.

    Args:
        env: the environment with its time and faults.
        step: ``lip-sync`` or ``inpainting``.
        heeds_keys: a second request under a known idempotency key gets the first one's job.
        may_accept: called before a job is accepted; raises AssertionError when it must not be.
    """

    def __init__(
        self,
        env: Environment,
        step: str,
        *,
        heeds_keys: bool,
        may_accept: Callable[[], None],
    ) -> None:
        self.env = env
        self.step = step
        self.heeds_keys = heeds_keys
        self.jobs: list[ProviderJob] = []
        self.plans: deque[Plan] = deque()
        self.refused: set[str] = set()
        self._may_accept = may_accept
        self._on_the_way: list[tuple[float, str]] = []
        self._bodies: dict[str, bytes] = {}
        self._ids = count(1)

    # Calls of a client

    async def send(
        self, reference: str, body: bytes, before_sending: Callable[[], None]
    ) -> ProviderJob:
        """One create."""
        fault = self.env.fault(f"{self.step}.send")
        if fault == "frozen":
            # The machine stands still, and its worker is taken for lost meanwhile.
            await self.env.clock.sleep(FROZEN)
        before_sending()
        same = self._bodies.setdefault(reference, body) == body
        assert same or self.env.tidied or not self.env.heeds_conditions, "a resend differs"
        await self.env.point("send.before")
        self._refuse(reference, fault)
        if self.heeds_keys and not same and any(job.reference == reference for job in self.jobs):
            raise RequestConflict("other inputs")
        if fault == "late":
            self._on_the_way.append((self.env.clock.monotonic() + LOST_AFTER - 5, reference))
        if fault in ("lost-before", "late"):
            await self.env.point("send.lost")
            await self.env.clock.sleep(LOST_AFTER)
            raise OutcomeUnknown("no answer in time")
        job = self._accept(reference)
        await self.env.point("send.accepted")
        if fault == "lost":
            await self.env.clock.sleep(LOST_AFTER)
            raise OutcomeUnknown("no answer in time")
        if fault == "named":
            raise OutcomeUnknown("HTTP 503", job_id=job.id)
        return job

    async def find(self, reference: str, since: datetime) -> ProviderJob | None:
        """The listed job of an attempt."""
        await self._read("find")
        now, until = self.env.clock.monotonic(), self.env.clock.time() + SKEW
        step, attempt = reference.rpartition("-")[0], int(reference.rpartition("-")[2])
        found = []
        for job in self.jobs:
            same_step = job.reference.rpartition("-")[0] == step
            if same_step and job.attempt >= attempt and job.listed_at <= now:
                created = self.env.began_at + job.accepted_at
                if since.timestamp() - SKEW <= created <= until:
                    found.append(job)
        # As the clients: one that did not fail goes first.
        return min(found, key=lambda job: not job.bought and job.ends_at <= now, default=None)

    async def read(self, job_id: str) -> tuple[ProviderJob, str]:
        """A job and ``running``, ``odd`` (an unknown status), or how it ended."""
        fault = await self._read("read")
        job = next(job for job in self.jobs if job.id == job_id)
        if fault == "odd":
            return job, "odd"
        if self.env.clock.monotonic() < job.ends_at:
            return job, "running"
        if job.how in ("retryable", "permanent", "no-points"):
            job.shown_failed = True
        return job, job.how

    # Inside

    async def _read(self, call: str) -> str | None:
        await self.env.point(f"{call}.before")
        self._arrive()
        fault = self.env.fault(f"{self.step}.{call}")
        await self.env.point(f"{call}.after")
        if fault == "away":
            raise ServiceUnavailable("HTTP 502")
        if fault == "pace":
            raise RateLimited("slow down", retry_after=20.0)
        if fault == "blocked":
            raise AccountBlocked("HTTP 402", code="http_402")
        if fault == "key":
            raise CredentialsRefused("HTTP 401")
        return fault

    def _refuse(self, reference: str, fault: str | None) -> None:
        errors: dict[str, ProVideoError] = {
            "unreachable": ServiceUnavailable("no connection"),
            "slot": SlotUnavailable("2 of 2 are running", retry_after=250.0),
            "pace": RateLimited("slow down"),
            "refused": ProviderRefused("HTTP 400"),
            "blocked": AccountBlocked("HTTP 402", code="http_402"),
            "key": CredentialsRefused("HTTP 401"),
        }
        error = errors.get(fault or "")
        if error is None:
            return
        if fault in ("refused", "blocked", "key"):
            self.refused.add(reference)
        raise error

    def _arrive(self) -> None:
        """Accept what was on its way when its sender gave up."""
        now = self.env.clock.monotonic()
        arrived = [reference for moment, reference in self._on_the_way if moment <= now]
        self._on_the_way = [each for each in self._on_the_way if each[0] > now]
        for reference in arrived:
            self._accept(reference)

    def _accept(self, reference: str) -> ProviderJob:
        self._arrive()
        present = [job for job in self.jobs if job.reference == reference]
        if present and self.heeds_keys:
            return present[0]
        assert not present, f"{reference} is paid twice"
        attempt = int(reference.rpartition("-")[2])
        self._check_earlier(reference.rpartition("-")[0], attempt)
        self._may_accept()
        plan = self.plans.popleft() if self.plans else Plan()
        now = self.env.clock.monotonic()
        job = ProviderJob(
            id=f"{self.step}-job-{next(self._ids)}",
            reference=reference,
            attempt=attempt,
            accepted_at=now,
            listed_at=now + plan.lag,
            ends_at=now + plan.seconds,
            how=plan.how,
        )
        self.jobs.append(job)
        return job

    def _check_earlier(self, prefix: str, attempt: int) -> None:
        """A new attempt needs the provider's own word that the last one failed, and a user's wish
        where that word does not invite another try."""
        for number in range(1, attempt):
            reference = f"{prefix}-{number}"
            jobs = [job for job in self.jobs if job.reference == reference]
            if not jobs:
                assert reference in self.refused, f"{reference} was never tried"
                continue
            (job,) = jobs
            assert job.shown_failed, f"{reference} did not fail, but attempt {attempt} is paid"
            if job.how != "retryable":
                assert any(moment >= job.ends_at for moment in self.env.retried_at), (
                    f"nobody asked for attempt {attempt}"
                )
