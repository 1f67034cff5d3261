"""The `Idempotency-Key` header: its grammar, and the generation that a key is bound to."""

import re
import time
from typing import Any

from starlette.requests import Request

from sandbox.sync_so.emulator import Emulator
from sandbox.sync_so.responses import ApiError

CONFLICT = "IDEMPOTENCY_CONFLICT"
_KIND = "idempotency"
_GRAMMAR = re.compile(r"[A-Za-z0-9._~-]{1,128}")


def key_of(request: Request, emulator: Emulator) -> str | None:
    """The key of a create, None without one; ApiError 400 for a malformed or repeated header.

    With the switch `idempotency` at `legacy` the header is ignored.
    """
    given = request.headers.getlist("idempotency-key")
    if not given or emulator.switches["idempotency"] == "legacy":
        return None
    if len(given) > 1 or not _GRAMMAR.fullmatch(given[0]):
        raise ApiError(
            400,
            "Idempotency-Key must be one header of 1 to 128 characters A-Z a-z 0-9 . _ ~ -",
            "INVALID_IDEMPOTENCY_KEY",
        )
    return given[0]


def recall(emulator: Emulator, key: str, fingerprint: str) -> dict[str, Any] | None:
    """The generation bound to the key, None for a new key; ApiError 409 for other inputs.

    Call it inside the transaction that also binds the key.
    """
    bound = emulator.store.get(_KIND, key)
    if bound is None or bound["until"] <= time.time():
        return None
    if bound["fingerprint"] != fingerprint:
        raise ApiError(409, "This Idempotency-Key was used with other inputs", CONFLICT)
    return emulator.generation(bound["generation"])


def bind(emulator: Emulator, key: str, fingerprint: str, generation: str) -> None:
    """Bind a key to a new generation."""
    until = time.time() + emulator.switches["idempotency_hours"] * 3600
    bound = {"fingerprint": fingerprint, "generation": generation, "until": until}
    emulator.store.put(_KIND, key, bound)
