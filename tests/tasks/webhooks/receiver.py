"""A real receiver of webhooks that answers as it is told."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast


@dataclass
class Message:
    """One request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """The planned responses, one a request (200 when there is none left), and the requests.

    An answer is a status, ``("redirect", url)``, ``("retry", status, seconds)``, ``"cut"``,
    ``"hang"`` or ``"drip"``, which sends 200 and then a body without an end.
    """

    answers: list[Any] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    port: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=secret-in-query"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Tests read what they want from the messages."""

    def do_POST(self) -> None:
        receiver = cast(_Server, self.server).receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver.messages.append(Message(self.path, headers, body))
        answer = receiver.answers.pop(0) if receiver.answers else 200
        with contextlib.suppress(OSError):
            self._answer(receiver, answer)

    def _answer(self, receiver: Receiver, answer: Any) -> None:
        extra: dict[str, str] = {}
        if answer == "cut":
            self.close_connection = True
            return
        if answer == "hang":
            receiver.closing.wait(30)
            self.close_connection = True
            return
        if answer == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000000000")
            self.end_headers()
            while not receiver.closing.wait(0.05):
                self.wfile.write(b"x" * 65536)
            return
        if isinstance(answer, tuple):
            if answer[0] == "redirect":
                status, extra = 302, {"Location": answer[1]}
            else:
                status, extra = answer[1], {"Retry-After": str(answer[2])}
        else:
            status = answer
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port of loopback."""
    receiver = Receiver()
    server = _Server(("127.0.0.1", 0), _Handler)
    server.receiver = receiver
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
