"""Checks that the addresses of a user's or a provider's link are public."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence

from pro_video.core.errors import SourceRefused, TransferInterrupted

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]
"""(name, port) -> textual addresses. Raises :class:`OSError` like :func:`socket.getaddrinfo`."""

_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NEVER_PUBLIC: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = (
    # Public by its number, but a service inside every Azure machine (wire server).
    ipaddress.IPv4Network("168.63.129.16/32"),
    # Entries of the IANA special-purpose registries that Python 3.11 lacks or has in part.
    # 192.0.0.192 is the metadata service of one cloud.
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("192.88.99.0/24"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),
    ipaddress.IPv6Network("3fff::/20"),
    ipaddress.IPv6Network("5f00::/16"),
    ipaddress.IPv6Network("fec0::/10"),
)
_NUMBER_LIKE = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)\Z")


def resolve(host: str, port: int) -> list[str]:
    """All addresses of a name, in the system's order of preference."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def literal_address(host: str) -> IPAddress | None:
    """The address in ``host``, or ``None`` for a name.

    Raises:
        SourceRefused: an ambiguous spelling (``0x7f.1``, ``2130706433``, ``010.0.0.1``).
    """
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if ":" in host or _NUMBER_LIKE.match(host.rsplit(".", 1)[-1].lower()):
        raise SourceRefused(
            "The address of the source is written in an unusual form. Write an IPv4 address as"
            " four decimal numbers, or use a host name.",
            code="address_form",
        )
    return None


def is_allowed(address: IPAddress, *, allow_private: bool) -> bool:
    """True for a public unicast address; with ``allow_private`` also for loopback and private
    networks.

    Link-local addresses (cloud metadata services), multicast, unspecified and reserved ones are
    never allowed. An IPv6 address with an IPv4 address in it (mapped, NAT64, 6to4) counts as that
    one.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_allowed(inner, allow_private=allow_private)
        if address.teredo is not None:
            return False
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        return False
    if any(address in network for network in _NEVER_PUBLIC):
        return False
    if address.is_loopback:
        return allow_private
    if address.is_reserved or address in _THIS_NETWORK:
        return False
    return address.is_global or (allow_private and address.is_private)


def is_loopback(host: str) -> bool:
    """Does a host's name or address mean this machine?"""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def checked_addresses(
    host: str, port: int, *, allow_private: bool, resolver: Resolver = resolve
) -> list[str]:
    """Resolve a host once and return its checked addresses.

    One forbidden address refuses the name.

    Raises:
        SourceRefused: unknown name, or an address that is not allowed.
        TransferInterrupted: the name server did not answer.
    """
    literal = literal_address(host)
    try:
        texts = [str(literal)] if literal is not None else resolver(host, port)
        addresses = [ipaddress.ip_address(text) for text in texts]
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise TransferInterrupted(
                f"The name server did not answer for {host}. Try again later.",
                code="dns_unavailable",
            ) from None
        raise SourceRefused(
            f"The host {host} does not exist. Check the address of the source.", code="unknown_host"
        ) from None
    except (ValueError, UnicodeError):
        raise SourceRefused(
            f"The host {host} cannot be looked up. Check the address of the source.",
            code="unknown_host",
        ) from None
    if not addresses:
        raise SourceRefused(
            f"The host {host} has no address. Check the address of the source.", code="unknown_host"
        )
    if not all(is_allowed(address, allow_private=allow_private) for address in addresses):
        raise SourceRefused(
            f"The source at {host} is not on a public network address. Use a public address, or"
            " upload the file to the bucket and give its s3:// address.",
            code="address_not_public",
        )
    return [str(address) for address in addresses]
