"""Ends the blocking work of a transfer from another thread.

A thread in ``recv`` cannot check a flag. So the interrupt knows the sockets in use and shuts them
down, and a cancelled, stopped or overdue transfer ends at once.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from pro_video.core.errors import DeadlineExceeded


class Interrupted(Exception):
    """The work was told to end; `Workers.transfer` translates it into the caller's reason."""


class Interrupt:
    """Deadline, stop request and cancellation of one transfer.

    Args:
        deadline: seconds from now that the work may take.
        stop: asked often and from several threads; true ends the work.
        what: names the work in the message of :class:`DeadlineExceeded`.
    """

    def __init__(
        self, deadline: float, stop: Callable[[], bool] | None = None, *, what: str = "The transfer"
    ) -> None:
        self._deadline = deadline
        self._ends_at = time.monotonic() + deadline
        self._stop = stop
        self._what = what
        self._parent: Interrupt | None = None
        self._fired = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()

    def child(self) -> Interrupt:
        """An interrupt for one try of several: it ends with this one, and can be fired alone."""
        child = Interrupt(self._deadline, self._stop, what=self._what)
        child._ends_at = self._ends_at
        child._parent = self
        return child

    def fire(self) -> None:
        """End the work: reads in progress return at once. Safe to call twice and from any
        thread."""
        with self._lock:
            self._fired.set()
            for sock in self._sockets:
                _shut(sock)

    def check(self) -> None:
        """Return while the work may go on.

        Raises:
            Interrupted: fired, or the stop request is set.
            DeadlineExceeded: the time is up.
        """
        if self._fired.is_set() or (self._stop is not None and self._stop()):
            raise Interrupted
        if self._parent is not None:
            self._parent.check()
        if time.monotonic() >= self._ends_at:
            raise DeadlineExceeded(
                f"{self._what} did not end within {self._deadline:g} s. Retry the run, or raise its"
                " deadline if the other side is that slow.",
                code="transfer_deadline",
            )

    def bound(self, seconds: float) -> float:
        """``seconds``, bounded by the rest of the deadline; never 0, which makes sockets
        non-blocking."""
        return max(0.001, min(seconds, self._ends_at - time.monotonic()))

    def pause(self, seconds: float) -> None:
        """Sleep that ends early when the work has to end."""
        pause_ends = time.monotonic() + seconds
        while True:
            self.check()
            left = self.bound(pause_ends - time.monotonic())
            if time.monotonic() >= pause_ends or self._fired.wait(min(left, 0.1)):
                break
        self.check()

    def watch(self, sock: socket.socket) -> None:
        """Shut this socket down when the work has to end."""
        with self._lock:
            self._sockets.add(sock)
            if self._fired.is_set():
                _shut(sock)

    def unwatch(self, sock: socket.socket) -> None:
        """Forget a socket before it is closed."""
        with self._lock:
            self._sockets.discard(sock)


def _shut(sock: socket.socket) -> None:
    # The plain socket's method for TLS too: SSLSocket.shutdown drops the session of a reader.
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return  # already closed by either side
