"""One try to deliver a webhook: a check of the receiver's address, one POST, no redirect, and next
to nothing read of the response."""

from __future__ import annotations

import contextlib
import functools
import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pro_video.core.errors import DeadlineExceeded, SourceRefused, TransferInterrupted
from pro_video.core.retrying import parse_retry_after
from pro_video.net.gate import Gate, connection_error
from pro_video.net.interrupt import Interrupt
from pro_video.net.threads import Workers, supervised

LONGEST_HINT = 6 * 3600.0
"""Longest pause in seconds that a receiver can ask for."""

_READ = 16 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one try.

    Attributes:
        status: the receiver's HTTP status; None without an answer.
        problem: why there is none, or why it does not count; safe to show, without the query.
        retry_after: the receiver's wish in seconds.
    """

    status: int | None = None
    problem: str | None = None
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Did the receiver take the message? Only 2xx says so."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Does the receiver want no more messages at this address?"""
        return self.status == http.HTTPStatus.GONE


@functools.lru_cache(maxsize=1)
def _threads() -> Workers:
    """Of their own: a receiver that answers slowly must not hold up transfers of videos."""
    return Workers(transfers=16, calls=1)


async def post(
    url: str, headers: Mapping[str, str], body: bytes, *, gate: Gate, seconds: float
) -> Answer:
    """Send one message.

    A redirect is an answer like any other error: the body is meant for the address that the job's
    owner gave. The body of the response is not kept.

    Args:
        url: http(s); goes through the gate each time, because names change their addresses.
        headers: of the message.
        body: JSON.
        gate: which addresses are allowed.
        seconds: for the whole exchange, however slowly it goes.

    Raises:
        Stopped: the surrounding stop signal was set.
    """

    def work(interrupt: Interrupt) -> Answer:
        return supervised(lambda: _exchange(url, headers, body, gate, interrupt), interrupt)

    try:
        return await _threads().transfer(work, deadline=seconds, what="The delivery")
    except DeadlineExceeded:
        return Answer(problem=f"no whole answer within {seconds:g} s")
    except SourceRefused as refused:
        return Answer(problem=f"the address is refused ({refused.code})")
    except TransferInterrupted as error:
        return Answer(problem=f"no connection ({error.code})")


def _exchange(
    url: str, headers: Mapping[str, str], body: bytes, gate: Gate, interrupt: Interrupt
) -> Answer:
    origin = gate.check(url)
    interrupt.check()
    connection = gate.connection(origin, interrupt)
    try:
        connection.request(
            "POST",
            origin.target,
            body=body,
            headers={
                "Host": origin.host_header,
                "User-Agent": "pro-video",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                **headers,
            },
        )
        response = connection.getresponse()
        try:
            return _judged(response)
        finally:
            response.close()
    except (OSError, http.client.HTTPException) as error:
        interrupt.check()
        raise connection_error(error, origin.host) from None
    finally:
        connection.release()


def _judged(response: http.client.HTTPResponse) -> Answer:
    hint = parse_retry_after(response.getheader("Retry-After"), now=time.time(), limit=LONGEST_HINT)
    # The status has said all. A small body is still taken, so that an honest receiver sees no
    # broken connection.
    with contextlib.suppress(OSError, http.client.HTTPException):
        response.read1(_READ)
    problem = None
    if 300 <= response.status < 400:
        problem = "a redirect, which is not followed"
    return Answer(status=response.status, problem=problem, retry_after=hint)
