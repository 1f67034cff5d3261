"""The gate for addresses from users and providers.

A URL is read strictly, its host is resolved once, every address has to be allowed, and the
connection is made to a checked address, so that a name cannot change between check and use. Each
redirect is checked in the same way. Credentials, cookies, referrers and the environment's proxies
are not used.

``http.client`` is used directly because urllib3 and httpx log request lines, and a presigned query
is a secret.
"""

from __future__ import annotations

import functools
import http.client
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import httpx

from pro_video.core.errors import SourceRefused, TransferInterrupted
from pro_video.net.addresses import Resolver, checked_addresses, literal_address, resolve
from pro_video.net.interrupt import Interrupt

MAX_URL = 8192
MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_LOCAL_NAMES = ("localhost", "local", "internal", "localdomain", "home.arpa")


@dataclass(frozen=True, slots=True)
class Origin:
    """A checked place to read from; a connection may use ``addresses`` alone.

    ``target`` is path and query as sent; it may be a secret and is not in ``repr``.
    """

    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...]
    target: str

    def __repr__(self) -> str:
        return f"Origin({self.label})"

    @property
    def label(self) -> str:
        """``scheme://host/path`` for messages: no query."""
        return f"{self.scheme}://{self.host}{self.target.partition('?')[0][:200]}"

    @property
    def host_header(self) -> str:
        """``Host`` as a client sends it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def _refuse(reason: str, code: str) -> SourceRefused:
    return SourceRefused(f"The address of the source {reason}", code=code)


def split_url(url: str) -> SplitResult:
    """Read a URL strictly: http(s), no user info, no ambiguous characters.

    Raises:
        SourceRefused: with a message that never repeats the query.
    """
    if len(url) > MAX_URL:
        raise _refuse(f"is longer than {MAX_URL} characters.", "url_form")
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url) or "\\" in url:
        raise _refuse("has spaces, control characters or backslashes in it.", "url_form")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
    except ValueError:
        raise _refuse("cannot be read as a URL.", "url_form") from None
    if parts.scheme not in _PORTS:
        raise _refuse("must begin with http:// or https://.", "url_scheme")
    if "@" in parts.netloc:
        raise _refuse("must not carry a user name or a password.", "url_user")
    if not host or port == 0:
        raise _refuse("has no usable host or port.", "url_form")
    return parts


def _host_name(parts: SplitResult, *, allow_private: bool) -> str:
    host = (parts.hostname or "").lower()
    if ":" in host and not parts.netloc.startswith("["):
        raise _refuse("cannot be read as a URL.", "url_form")
    if ":" not in host:
        try:
            host = host.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise _refuse("has a host name that cannot be looked up.", "url_form") from None
        host = host.removesuffix(".")
    if literal_address(host) is not None:
        return host
    if len(host) > 253 or not all(_LABEL.match(label) for label in host.split(".")):
        raise _refuse("has a host name that cannot be looked up.", "url_form")
    if not allow_private and any(host == n or host.endswith(f".{n}") for n in _LOCAL_NAMES):
        raise _refuse("names a machine of the local network.", "address_not_public")
    return host


def check_url(url: str, *, allow_private: bool = False, resolver: Resolver = resolve) -> Origin:
    """Check a URL and the addresses of its host. Blocks for the name server.

    Args:
        url: of a user or a provider.
        allow_private: also take loopback and private networks (for a sandbox).
        resolver: looks names up; called at most once.

    Raises:
        SourceRefused: the URL or one of the host's addresses is not allowed.
        TransferInterrupted: the name server did not answer.
    """
    parts = split_url(url)
    host = _host_name(parts, allow_private=allow_private)
    port = parts.port or _PORTS[parts.scheme]
    addresses = checked_addresses(host, port, allow_private=allow_private, resolver=resolver)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=-._~[]")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=-._~?[]{}|^`\"<>")
    target = f"{path}?{query}" if parts.query else path
    return Origin(parts.scheme, host, port, tuple(addresses), target)


@functools.lru_cache(maxsize=1)
def default_tls() -> ssl.SSLContext:
    """The certificates that httpx trusts (certifi or ``SSL_CERT_FILE``), so that all clients agree.

    One for the process: each takes 30 ms and a megabyte, and every waiting job has a client.
    """
    return httpx.create_ssl_context()


class Connection(http.client.HTTPConnection):
    """A connection to the checked addresses of an origin, with its name in ``Host``, SNI and
    certificate check."""

    def __init__(
        self,
        origin: Origin,
        interrupt: Interrupt,
        *,
        tls: ssl.SSLContext | None,
        connect_timeout: float,
        read_timeout: float,
    ) -> None:
        super().__init__(origin.host, origin.port, timeout=read_timeout)
        self._origin = origin
        self._interrupt = interrupt
        self._tls = tls
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._watched: socket.socket | None = None
        self._response: http.client.HTTPResponse | None = None

    def connect(self) -> None:
        """Try the checked addresses in order; the error of the last one is raised."""
        for position, address in enumerate(self._origin.addresses, start=1):
            self._interrupt.check()
            try:
                self.sock = self._open(address)
            except ssl.SSLCertVerificationError:
                raise
            except OSError:
                if position == len(self._origin.addresses):
                    raise
            else:
                return

    def _open(self, address: str) -> socket.socket:
        sock = socket.create_connection(
            (address, self._origin.port), self._interrupt.bound(self._connect_timeout)
        )
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._origin.scheme == "https":
                context = self._tls or default_tls()
                sock = context.wrap_socket(sock, server_hostname=self._origin.host)
            sock.settimeout(self._read_timeout)
        except BaseException:
            sock.close()
            raise
        self._forget()
        self._watched = sock
        self._interrupt.watch(sock)
        return sock

    def _forget(self) -> None:
        if self._watched is not None:
            self._interrupt.unwatch(self._watched)
            self._watched = None

    def release(self) -> None:
        """Drop the socket and its response; the next request connects again.

        ``http.client`` calls ``close`` itself while a response is still to be read.
        """
        if self._response is not None:
            self._response.close()
            self._response = None
        self.close()
        self._forget()

    def get(self, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Send one GET and return the response with its body unread."""
        self._interrupt.check()
        if self.sock is not None:
            self.sock.settimeout(self._interrupt.bound(self._read_timeout))
        sent = {"Host": self._origin.host_header, "User-Agent": "pro-video", "Accept": "*/*"}
        sent |= {"Accept-Encoding": "identity", **headers}
        self.putrequest("GET", self._origin.target, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            self.putheader(name, value)
        self.endheaders()
        self._response = self.getresponse()
        return self._response


@dataclass(frozen=True, slots=True)
class Gate:
    """Rules and time limits for opening sources.

    Args:
        allow_private: also take loopback and private networks (for a sandbox).
        resolver: looks names up.
        tls: certificates to trust; ``None`` means :func:`default_tls`.
        connect_timeout: seconds for one TCP connection and its TLS handshake.
        read_timeout: seconds without a byte after which a connection counts as cut.
    """

    allow_private: bool = False
    resolver: Resolver = resolve
    tls: ssl.SSLContext | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 30.0

    def check(self, url: str) -> Origin:
        """:func:`check_url` with this gate's rules."""
        return check_url(url, allow_private=self.allow_private, resolver=self.resolver)

    def connection(self, origin: Origin, interrupt: Interrupt) -> Connection:
        """A connection, not opened yet, to an origin that was checked."""
        return Connection(
            origin,
            interrupt,
            tls=self.tls,
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
        )

    def open(
        self, url: str, headers: Mapping[str, str], interrupt: Interrupt
    ) -> tuple[Origin, Connection, http.client.HTTPResponse]:
        """GET a URL and follow at most five redirects, each checked like the first address.

        Returns the origin of the response, its connection (release it) and the response, body
        unread.

        Raises:
            SourceRefused: an address is not allowed, a redirect leads nowhere or from https to
                http.
            TransferInterrupted: a name server did not answer.
            OSError, http.client.HTTPException: the connection failed; see :func:`connection_error`.
        """
        for _ in range(MAX_REDIRECTS + 1):
            origin = self.check(url)
            connection = self.connection(origin, interrupt)
            try:
                response = connection.get(headers)
                if response.status not in _REDIRECTS:
                    return origin, connection, response
                location = response.getheader("Location")
            except BaseException:
                connection.release()
                raise
            connection.release()
            if not location:
                raise _bad_redirect(origin, "without an address")
            try:
                url = urljoin(url, location).partition("#")[0]
            except ValueError:
                raise _bad_redirect(origin, "to a malformed address") from None
            if origin.scheme == "https" and not url.lower().startswith("https:"):
                raise _bad_redirect(origin, "from https to another scheme")
        raise _bad_redirect(origin, "too many times")


def _bad_redirect(origin: Origin, how: str) -> SourceRefused:
    return SourceRefused(
        f"The source {origin.label} redirects {how}. Give the address of the file itself.",
        code="redirect",
    )


def connection_error(
    error: OSError | http.client.HTTPException, host: str
) -> SourceRefused | TransferInterrupted:
    """The error of a failed connection, without the text of the original, which may have the
    query."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return SourceRefused(
            f"The certificate of {host} is not valid for it. Use another address.",
            code="certificate",
        )
    if isinstance(error, http.client.InvalidURL):
        return _refuse("cannot be read as a URL.", "url_form")
    kind = "did not answer in time" if isinstance(error, TimeoutError) else "broke the connection"
    return TransferInterrupted(
        f"The source at {host} {kind} ({type(error).__name__}). Try again later.", code="source_cut"
    )
