"""Bearer tokens: made from 256 random bits, kept only as their hash, in one Prefect block.

A slow password hash would add nothing: 256 random bits cannot be guessed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from pydantic import BaseModel, Field, SecretStr, TypeAdapter

from gateway.app.problems import unavailable

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from gateway.app.settings import GatewaySettings
    from gateway.prefect_client.loop import Upstream

OWNER = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
"""Names of owners; they become part of object keys and tags."""

LOCAL_OWNER = "local"
"""The owner of all requests until there is a token."""

_PREFIX = "pvk_"
_STALE_LIMIT = 60.0
_FAILURE_LIFE = 2.0


class StoredToken(BaseModel):
    """One token as it is kept.

    Attributes:
        id: short public name, for revoking.
        owner: the owner of requests with it.
        hash: SHA-256 of the token, hexadecimal.
        created_at: when.
    """

    id: str
    owner: str
    hash: str
    created_at: datetime


_TOKENS = TypeAdapter(list[StoredToken])


class GatewayTokens(Block):
    """Tokens of the HTTP gateway, hashed. Managed by ``pro-video tokens``."""

    _block_type_name: ClassVar[str | None] = "Pro Video Gateway Tokens"
    _block_type_slug: ClassVar[str | None] = "pro-video-gateway-tokens"
    _description: ClassVar[str | None] = "Bearer tokens of the HTTP gateway; holds hashes only."

    tokens: SecretStr = Field(
        default=SecretStr("[]"), title="Tokens", description="JSON list of hashed tokens."
    )

    def entries(self) -> list[StoredToken]:
        """The tokens."""
        return _TOKENS.validate_json(self.tokens.get_secret_value())

    @classmethod
    def holding(cls, entries: list[StoredToken]) -> GatewayTokens:
        """A block with these tokens."""
        return cls(tokens=SecretStr(_TOKENS.dump_json(entries).decode()))


def new_token(owner: str) -> tuple[str, StoredToken]:
    """A fresh token, to be shown once, and what is kept of it.

    Raises:
        ValueError: not a name for an owner.
    """
    if not OWNER.fullmatch(owner):
        raise ValueError(
            "An owner is named by 1 to 40 lower-case letters, digits and hyphens, "
            "with no hyphen at its ends"
        )
    token = _PREFIX + secrets.token_urlsafe(32)
    entry = StoredToken(
        id=secrets.token_hex(4), owner=owner, hash=_hash(token), created_at=datetime.now(UTC)
    )
    return token, entry


async def load_entries(name: str, client: PrefectClient | None = None) -> list[StoredToken] | None:
    """The tokens of a block; None when it does not exist, so that there never was a token."""
    async with AsyncExitStack() as closing:
        if client is None:
            client = await closing.enter_async_context(get_client())
        try:
            # Not `Block.aload`, each use of which leaves an event: the gateway looks all the time.
            document = await client.read_block_document_by_name(
                name, GatewayTokens.get_block_type_slug()
            )
        except ObjectNotFound:
            return None
    return GatewayTokens.model_validate(document.data).entries()


async def save_entries(name: str, entries: list[StoredToken]) -> None:
    """Replace the tokens of a block."""
    await GatewayTokens.aregister_type_and_schema()
    await GatewayTokens.holding(entries).asave(name, overwrite=True)


class TokenStore:
    """The gateway's view of the tokens, read anew every few seconds."""

    def __init__(self, upstream: Upstream, settings: GatewaySettings) -> None:
        self._upstream = upstream
        self._name = settings.token_block
        self._life = settings.token_seconds
        self._seconds = settings.upstream_seconds
        self._entries: list[StoredToken] | None = None
        self._loaded_at = float("-inf")
        self._failed_at = float("-inf")
        self._loading: asyncio.Task[None] | None = None

    async def is_closed(self) -> bool:
        """Was a token ever made? The last one's revocation opens nothing.

        Raises:
            ProblemError: 503, when the tokens cannot be read.
        """
        return await self._current() is not None

    async def owner_of(self, token: str) -> str | None:
        """The owner of a token; None for an unknown or revoked one.

        Raises:
            ProblemError: 503, when the tokens cannot be read.
        """
        given = _hash(token)
        owner = None
        for entry in await self._current() or []:
            if hmac.compare_digest(entry.hash, given):
                owner = entry.owner
        return owner

    async def _current(self) -> list[StoredToken] | None:
        age = time.monotonic() - self._loaded_at
        if age < self._life / 2:
            return self._entries
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load())
        # Ahead of time no request waits. Later all wait for one read, and go on at once: a lock
        # would let them through one after the other.
        if age >= self._life:
            await asyncio.shield(self._loading)
            # The last list serves for a while; after that, every request is refused.
            if time.monotonic() - self._loaded_at > _STALE_LIMIT:
                raise unavailable("The list of tokens")
        return self._entries

    async def _load(self) -> None:
        # Requests that come after a failed read do not each wait for one of their own.
        if time.monotonic() - self._failed_at > _FAILURE_LIFE:
            await self._read()

    async def _read(self) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                found = await self._upstream.run(lambda client: load_entries(self._name, client))
        except (httpx.HTTPError, TimeoutError, RuntimeError, ValueError):
            self._failed_at = time.monotonic()
        else:
            # A block that was there before and is gone opens nothing.
            self._entries = found if found is not None or self._entries is None else []
            # A token may have been revoked during the read.
            self._loaded_at = began


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
