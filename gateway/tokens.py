"""Manages the gateway's tokens: ``pro-video tokens create OWNER``, ``list``, ``revoke ID``."""

from __future__ import annotations

import argparse
import asyncio
import sys

import httpx

from gateway.auth.token_store import StoredToken, load_entries, new_token, save_entries
from gateway.base.settings import get_gateway_settings


async def create(owner: str) -> str:
    """A new token for ``owner``, which cannot be shown again.

    Raises:
        ValueError: the owner's name is malformed.
    """
    token, entry = new_token(owner)
    name = get_gateway_settings().token_block
    await save_entries(name, [*(await load_entries(name) or []), entry])
    return token


async def listed() -> list[StoredToken]:
    """The entries of all tokens, which hold no secrets."""
    return await load_entries(get_gateway_settings().token_block) or []


async def revoke(token_id: str) -> bool:
    """Remove a token; False when there is none with this id."""
    name = get_gateway_settings().token_block
    entries = await load_entries(name) or []
    kept = [entry for entry in entries if entry.id != token_id]
    if len(kept) == len(entries):
        return False
    await save_entries(name, kept)
    return True


def main(arguments: list[str] | None = None) -> int:
    """Entry of ``pro-video tokens`` and ``python -m gateway.tokens``."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("create", help="make a token and show it once").add_argument("owner")
    commands.add_parser("list", help="ids, owners and dates of the tokens")
    commands.add_parser("revoke", help="refuse a token from now on").add_argument("id")
    options = parser.parse_args(arguments)
    try:
        return asyncio.run(_run(options))
    except httpx.HTTPError as error:
        sys.stderr.write(
            f"Prefect does not answer ({type(error).__name__}). Nothing was changed.\n"
        )
        return 1


async def _run(options: argparse.Namespace) -> int:
    if options.command == "create":
        try:
            token = await create(options.owner)
        except ValueError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        sys.stdout.write(f"{token}\n")
        return 0
    if options.command == "list":
        for entry in await listed():
            sys.stdout.write(f"{entry.id}  {entry.owner}  {entry.created_at:%Y-%m-%d %H:%M}\n")
        return 0
    if not await revoke(options.id):
        sys.stderr.write("There is no token with this id. Nothing was changed; see: list\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
