"""Bearer tokens of 256 random bits, stored as SHA-256 in one Prefect block.

A slow password hash would add nothing: 256 random bits cannot be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from pydantic import BaseModel, Field, SecretStr, TypeAdapter

from gateway.base.refreshed_value import RefreshedValue

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from gateway.base.settings import GatewaySettings
    from gateway.prefect_client.loop import PrefectLoop

OWNER = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
"""Names of owners; they become part of object keys and tags."""

LOCAL_OWNER = "local"
"""The owner of all requests until the first token is made."""

_PREFIX = "pvk_"
# While Prefect is away the last list serves for this time; then all requests are refused.
_STALE_SECONDS = 60.0


class StoredToken(BaseModel):
    """One token as it is stored.

    Attributes:
        id: short public name, for its revocation.
        owner: owner of the requests with it.
        hash: SHA-256 of the token, hexadecimal.
        created_at: time of its creation.
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
    """A new token, to be shown once, and its entry to be stored.

    Raises:
        ValueError: the owner's name is malformed.
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
    """The tokens of a block; None when there is no block, as before the first token."""
    async with AsyncExitStack() as closing:
        if client is None:
            client = await closing.enter_async_context(get_client())
        try:
            # `Block.aload` would leave an event at each of the gateway's many reads.
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
    """The gateway's view of the tokens, read again every few seconds."""

    def __init__(self, settings: GatewaySettings, prefect: PrefectLoop) -> None:
        self._block = settings.token_block
        self._prefect = prefect
        self._tokens = RefreshedValue(
            self._read,
            name="The list of tokens",
            life=settings.token_seconds,
            timeout=settings.upstream_seconds,
            stale=_STALE_SECONDS,
        )

    async def exist(self) -> bool:
        """Whether a token was ever made; it may be revoked since.

        Raises:
            ProblemError: 503, when the tokens cannot be read.
        """
        return await self._tokens.get() is not None

    async def owner_of(self, token: str) -> str | None:
        """The owner of a token; None for an unknown or revoked one.

        Raises:
            ProblemError: 503, when the tokens cannot be read.
        """
        given = _hash(token)
        owner = None
        for entry in await self._tokens.get() or []:
            if hmac.compare_digest(entry.hash, given):
                owner = entry.owner
        return owner

    async def _read(self) -> list[StoredToken] | None:
        found = await self._prefect.run(lambda client: load_entries(self._block, client))
        # The deletion of a block that was there before opens nothing.
        return [] if found is None and self._tokens.last is not None else found


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
