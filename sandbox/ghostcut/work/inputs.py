"""The source of a work: the addresses that the vendor calls, and the download.

Source: vendor docs, "input video": directly downloadable, no login, no intranet, no Chinese
characters in the address.
"""

import asyncio
import ipaddress
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from sandbox.common.fetch import FetchError, fetch
from sandbox.common.settings import SwitchBoard
from sandbox.ghostcut.rules import statuses

_CHINESE = re.compile(r"[\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]")


class WorkFailedError(Exception):
    """The run ends with this status, which is not success.

    `detail` is the row's `errorDetail`; `result` names a finished result that stays locked.
    """

    def __init__(self, status: int, detail: str = "", result: str | None = None) -> None:
        self.status = status
        self.detail = detail
        self.result = result
        super().__init__(f"{status} {detail}")


class RefusedAddressError(Exception):
    """The vendor would not call this address; the message does not contain it."""


async def check_address(url: str, *, allow_private: bool) -> None:
    """Raise RefusedAddressError unless the vendor would call this address.

    It has to be http(s), without Chinese characters, resolvable and, unless `allow_private`,
    public. This models the vendor's rule and protects from nothing: redirects are not checked, and
    the call resolves the name again.
    """
    if _CHINESE.search(url):
        raise RefusedAddressError("the address has Chinese characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise RefusedAddressError("the address is malformed") from None
    if parts.scheme not in ("http", "https") or not host:
        raise RefusedAddressError("the address is not http or https")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port or 80, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        raise RefusedAddressError("the host cannot be resolved") from None
    if allow_private:
        return
    for entry in found:
        if not ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_global:
            raise RefusedAddressError("the host is not public")


async def download(url: str, path: Path, switches: SwitchBoard) -> int:
    """Fetch the source to `path` and return its size in bytes.

    Raises WorkFailedError: 2 for a refused address, 3 for a failed download, 100 for a file that is
    too large.
    """
    limit = int(switches["max_bytes"])
    # The bound is above the limit, so that a file that is too large differs from a failure.
    try:
        await check_address(url, allow_private=switches["allow_private"])
        size = await fetch(url, path, max_bytes=2 * limit, timeout=600.0)
    except RefusedAddressError as error:
        raise WorkFailedError(statuses.BAD_URL, str(error)) from None
    except FetchError as error:
        raise WorkFailedError(statuses.DOWNLOAD_FAILED, str(error)) from None
    if size >= limit:
        raise WorkFailedError(statuses.TOO_LARGE)
    return size
