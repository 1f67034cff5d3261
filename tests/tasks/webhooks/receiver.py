"""A real receiver of webhooks that answers as it is told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.support.scripted import Asked, Reply, ScriptedServer


@dataclass
class Message:
    """One request that came in."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """The planned responses or statuses, one a request (200 when there is none left), and the
    requests."""

    answers: list[Reply | int] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    server: ScriptedServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = ScriptedServer(answer=self._answer)

    @property
    def url(self) -> str:
        return f"{self.server.url}/hook?token=secret-in-query"

    def _answer(self, asked: Asked) -> Reply:
        headers = {name: values[-1] for name, values in asked.headers.items()}
        self.messages.append(Message(asked.path, asked.query, headers, asked.body))
        answer = self.answers.pop(0) if self.answers else 200
        return Reply(answer, b"ok") if isinstance(answer, int) else answer
