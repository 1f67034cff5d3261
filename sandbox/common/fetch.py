"""Fetching a job's input over HTTP after the job was accepted."""

import asyncio
import functools
import ssl
from pathlib import Path

import httpx


class FetchError(Exception):
    """The input could not be fetched; the message does not contain the address."""


@functools.cache
def tls() -> ssl.SSLContext:
    """One TLS context for all clients: loading the certificates takes tens of milliseconds."""
    return httpx.create_ssl_context(trust_env=False)


async def fetch(
    url: str, path: Path, *, max_bytes: int, timeout: float = 60.0, read_timeout: float = 20.0
) -> int:
    """Stream an http(s) address to `path`, which is replaced when the body is whole.

    Returns the size in bytes. `timeout` bounds the whole transfer, `read_timeout` each silence in
    it, in seconds. Raises FetchError for a failure, a status other than 200, and a body beyond
    `max_bytes`.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        async with asyncio.timeout(timeout):
            return await _stream(url, path, partial, max_bytes, read_timeout)
    except TimeoutError as error:
        raise FetchError(f"no complete response within {timeout:g} s") from error
    except httpx.InvalidURL as error:
        raise FetchError("the address is malformed") from error
    except httpx.HTTPError as error:
        raise FetchError(f"the transfer failed ({type(error).__name__})") from error
    finally:
        partial.unlink(missing_ok=True)


async def _stream(url: str, path: Path, partial: Path, max_bytes: int, read_timeout: float) -> int:
    limits = httpx.Timeout(read_timeout, connect=10.0)
    async with (
        httpx.AsyncClient(
            timeout=limits, follow_redirects=True, trust_env=False, verify=tls()
        ) as client,
        client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
    ):
        if response.status_code != 200:
            raise FetchError(f"the address answered with status {response.status_code}")
        size = 0
        with partial.open("wb") as file:
            async for chunk in response.aiter_raw(1 << 18):
                size += len(chunk)
                if size > max_bytes:
                    raise FetchError(f"the file is larger than {max_bytes} bytes")
                await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(partial.replace, path)
        return size
