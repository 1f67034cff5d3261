"""One try to deliver a webhook: a check of the receiver's address and one POST, without
redirects."""

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
class PostResult:
    """The result of one try.

    Attributes:
        status: the receiver's HTTP status; None without a response.
        problem: why there is no response, or why it does not count; safe to show.
        retry_after: the pause that the receiver asked for, seconds.
    """

    status: int | None = None
    problem: str | None = None
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Did the receiver accept the message (2xx)?"""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Did the receiver refuse all further messages (410)?"""
        return self.status == http.HTTPStatus.GONE


@functools.lru_cache(maxsize=1)
def _threads() -> Workers:
    """Separate threads, so that slow receivers do not delay transfers of videos."""
    return Workers(transfers=16, calls=1)


async def post(
    url: str, headers: Mapping[str, str], body: bytes, *, gate: Gate, seconds: float
) -> PostResult:
    """Send one message.

    A redirect counts as an error: the body is meant for the address of the job's owner.

    Args:
        url: http(s); checked each time, because names change their addresses.
        headers: of the message.
        body: JSON.
        gate: checks the address.
        seconds: for the whole exchange.

    Raises:
        Stopped: the surrounding stop signal was set.
    """

    def work(interrupt: Interrupt) -> PostResult:
        return supervised(lambda: _exchange(url, headers, body, gate, interrupt), interrupt)

    try:
        return await _threads().transfer(work, deadline=seconds, what="The delivery")
    except DeadlineExceeded:
        return PostResult(problem=f"no whole answer within {seconds:g} s")
    except SourceRefused as refused:
        return PostResult(problem=f"the address is refused ({refused.code})")
    except TransferInterrupted as error:
        return PostResult(problem=f"no connection ({error.code})")


def _exchange(
    url: str, headers: Mapping[str, str], body: bytes, gate: Gate, interrupt: Interrupt
) -> PostResult:
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
            return _result_of(response)
        finally:
            response.close()
    except (OSError, http.client.HTTPException) as error:
        interrupt.check()
        raise connection_error(error, origin.host) from None
    finally:
        connection.release()


def _result_of(response: http.client.HTTPResponse) -> PostResult:
    hint = parse_retry_after(response.getheader("Retry-After"), now=time.time(), limit=LONGEST_HINT)
    # Only the status counts. A small body is read so that the receiver sees no broken connection.
    with contextlib.suppress(OSError, http.client.HTTPException):
        response.read1(_READ)
    problem = None
    if 300 <= response.status < 400:
        problem = "a redirect, which is not followed"
    return PostResult(status=response.status, problem=problem, retry_after=hint)
