"""The gate for foreign addresses: what passes, what does not, and where connections go."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pro_video.core.errors import SourceRefused, TransferInterrupted
from pro_video.net.addresses import is_allowed
from pro_video.net.gate import Gate, Origin, check_url, connection_error
from pro_video.net.interrupt import Interrupt
from tests.support.source_server import SourceFile, SourceServer, serving

PUBLIC = "93.184.215.14"

# Names are answered with a public address here: each of these has to be refused for another reason.
HOSTILE = [
    # schemes
    "ftp://example.com/a",
    "file:///etc/passwd",
    "gopher://example.com/",
    "data:text/plain,hi",
    "javascript:alert(1)",
    "dict://example.com:11211/",
    "s3://bucket/key",
    "//example.com/a",
    "example.com/a",
    "http:example.com",
    "http:/example.com",
    "",
    # form
    "http://",
    "http:///path",
    "http://:80/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:-1/",
    "http://example.com:8o/",
    "http://example.com:80:80/",
    "http://exa mple.com/",
    "http://example.com/a b",
    "http://example.com/\r\nHost: evil",
    "http://example.com/\x00",
    " http://example.com/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com\t/",
    "http://ex%61mple.com/",
    "http://-example.com/",
    "http://a..b.com/",
    "http://" + "a" * 64 + ".com/",
    "http://" + "a." * 130 + "com/",
    "http://example.com/" + "a" * 8192,
    "http://[::1",
    "http://[::1]evil/",
    "http://[v1.fe80::a]/",
    # credentials
    "http://user@example.com/",
    "http://user:secret@example.com/",
    "http://@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1#@example.com/",
    # this machine
    "http://127.0.0.1/",
    "http://127.0.0.1:9000/",
    "http://127.1.2.3/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://service.localhost/",
    "http://printer.local/",
    "http://metadata.google.internal/",
    "http://localhost.localdomain/",
    "http://0.0.0.0/",
    "http://0/",
    "http://0.1.2.3/",
    "http://[::1]/",
    "http://[::]/",
    # spellings of 127.0.0.1
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.1./",
    "http://127.0.0.01/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://ⓛocalhost/",
    # private and special networks
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.254/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.170.2/v2/credentials",
    "http://168.63.129.16/machine",
    "http://192.0.0.192/opc/v2/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://192.88.99.1/",
    "http://224.0.0.1/",
    "http://239.255.255.250/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    # IPv6
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[100::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "http://[3fff::1]/",
    "http://[5f00::1]/",
]


def read(gate: Gate, url: str, headers: dict[str, str] | None = None) -> tuple[Origin, bytes]:
    origin, connection, response = gate.open(url, headers or {}, Interrupt(10))
    data = response.read()
    connection.release()
    return origin, data


def public(host: str, port: int) -> list[str]:
    return [PUBLIC]


def test_the_table_is_long_enough() -> None:
    assert len(set(HOSTILE)) >= 60


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_addresses_are_refused(url: str) -> None:
    with pytest.raises(SourceRefused) as caught:
        check_url(url, resolver=public)
    assert caught.value.message.endswith(".")
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("https://example.com/v.mp4?X-Sig=a%2Fb", "example.com", 443, "/v.mp4?X-Sig=a%2Fb"),
        ("HTTP://Example.COM", "example.com", 80, "/"),
        ("https://example.com:8443/ü.mp4", "example.com", 8443, "/%C3%BC.mp4"),
        ("https://bücher.example/a#part", "xn--bcher-kva.example", 443, "/a"),
        ("https://example.com./a", "example.com", 443, "/a"),
        ("https://1.1.1.1/a", "1.1.1.1", 443, "/a"),
        ("https://[2606:4700::1111]/a", "2606:4700::1111", 443, "/a"),
        ("https://my_bucket.s3.amazonaws.com/a%20b", "my_bucket.s3.amazonaws.com", 443, "/a%20b"),
    ],
)
def test_public_addresses_pass_unchanged(url: str, host: str, port: int, target: str) -> None:
    origin = check_url(url, resolver=public)
    assert (origin.host, origin.port, origin.target) == (host, port, target)
    assert "X-Sig" not in repr(origin)
    assert "X-Sig" not in origin.label


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        [PUBLIC, "10.0.0.1"],
        ["169.254.169.254"],
        ["2606:4700::1111", "::1"],
        ["fe80::1%eth0"],
        ["::ffff:10.0.0.1"],
        ["not an address"],
        [],
    ],
)
def test_a_name_is_refused_for_any_of_its_addresses(answer: list[str]) -> None:
    with pytest.raises(SourceRefused):
        check_url("https://video.example/a", resolver=lambda host, port: answer)


@pytest.mark.parametrize(
    ("address", "private_too"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("192.168.0.1", True),
        ("::1", True),
        ("fd00::1", True),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("168.63.129.16", False),
        ("::ffff:169.254.169.254", False),
    ],
)
def test_private_sources_are_a_setting_and_metadata_services_never(
    address: str, private_too: bool
) -> None:
    parsed = ipaddress.ip_address(address)
    assert not is_allowed(parsed, allow_private=False)
    assert is_allowed(parsed, allow_private=True) is private_too


class Rebinding:
    """Answers with one address after the other, as a hostile name server does."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return [self.answers[min(self.asked, len(self.answers)) - 1]]


def test_a_name_that_changes_after_the_check_gains_nothing() -> None:
    resolver = Rebinding("127.0.0.1", "127.0.0.2")
    gate = Gate(allow_private=True, resolver=resolver)
    with serving() as good:
        good.add("/a", SourceFile(b"good"))
        origin = gate.check(good.url("/a", "rebind.example"))
        for _ in range(2):
            connection = gate.connection(origin, Interrupt(10))
            assert connection.get({}).read() == b"good"
            connection.release()
        assert {headers["host"] for _, headers in good.requests} == {f"rebind.example:{good.port}"}
    assert resolver.asked == 1


def test_the_first_answer_counts_even_when_the_second_is_public() -> None:
    with pytest.raises(SourceRefused):
        check_url("http://rebind.example/", resolver=Rebinding("127.0.0.1", PUBLIC))


def test_nothing_of_ours_is_sent_along(
    source: SourceServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    url = source.add("/b", SourceFile(b"data", headers={"Set-Cookie": "id=1"}))
    source.add("/a", SourceFile(location=url, headers={"Set-Cookie": "id=1"}))
    link = source.url("/a") + "?token=1"
    assert read(Gate(allow_private=True), link, {"Range": "bytes=0-9"})[1] == b"data"
    for _, headers in source.requests:
        assert set(headers) == {"host", "user-agent", "accept", "accept-encoding", "range"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(source: SourceServer, status: int) -> None:
    source.add("/there", SourceFile(b"data"))
    url = source.add("/here", SourceFile(location="/there", redirect_status=status))
    origin, data = read(Gate(allow_private=True), url)
    assert (origin.target, data) == ("/there", b"data")


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "http://user:secret@127.0.0.1/",
        "http://0x7f.1/",
        "http://[::ffff:169.254.169.254]/",
        "//0.0.0.0/",
        "http://[broken/",
        "",
    ],
)
def test_each_redirect_goes_through_the_gate(source: SourceServer, location: str) -> None:
    url = source.add("/here", SourceFile(location=location))
    with pytest.raises(SourceRefused):
        read(Gate(allow_private=True), url)


def test_a_redirect_into_the_private_network_is_refused(source: SourceServer) -> None:
    # The first hop's name is taken for public by a gate that trusts this one loopback address.
    asked: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if host == "first.example" else ["169.254.169.254"]

    source.add("/here", SourceFile(location="http://second.example/secret"))
    with pytest.raises(SourceRefused) as caught:
        read(Gate(allow_private=True, resolver=resolver), source.url("/here", "first.example"))
    assert asked == ["first.example", "second.example"]
    assert caught.value.code == "address_not_public"


def test_redirects_end(source: SourceServer) -> None:
    url = source.add("/loop", SourceFile(location="/loop"))
    with pytest.raises(SourceRefused):
        read(Gate(allow_private=True), url)
    assert len(source.requests) == 6


def test_the_next_address_is_tried_when_one_does_not_answer(source: SourceServer) -> None:
    # Nothing listens on 127.0.0.3; both addresses were checked.
    gate = Gate(allow_private=True, resolver=lambda host, port: ["127.0.0.3", "127.0.0.1"])
    source.add("/a", SourceFile(b"data"))
    assert read(gate, source.url("/a", "two.example"))[1] == b"data"


def test_unknown_and_unanswered_names_differ() -> None:
    import socket

    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    def silent(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    with pytest.raises(SourceRefused):
        check_url("http://nowhere.example/", resolver=unknown)
    with pytest.raises(TransferInterrupted):
        check_url("http://nowhere.example/", resolver=silent)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate for ``video.example`` in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "video.example")])
    today = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("video.example")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[tuple[SourceServer, Gate]]:
    """A TLS server for ``video.example`` and a gate that trusts its certificate."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with serving(tls=server_side) as server:
        server.add("/a", SourceFile(b"data"))
        gate = Gate(allow_private=True, tls=trusting, resolver=lambda host, port: ["127.0.0.1"])
        yield server, gate


def test_certificates_are_checked_against_the_name(secure: tuple[SourceServer, Gate]) -> None:
    server, gate = secure
    assert read(gate, server.url("/a", "video.example"))[1] == b"data"
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        read(gate, server.url("/a", "other.example"))
    assert isinstance(connection_error(caught.value, "other.example"), SourceRefused)
    with pytest.raises(ssl.SSLCertVerificationError):
        read(Gate(allow_private=True, resolver=gate.resolver), server.url("/a", "video.example"))


def test_https_is_never_left_for_http(secure: tuple[SourceServer, Gate]) -> None:
    server, gate = secure
    server.add("/down", SourceFile(location="http://video.example/a"))
    with pytest.raises(SourceRefused):
        read(gate, server.url("/down", "video.example"))


def test_connection_errors_never_repeat_the_query() -> None:
    for error in (
        OSError("GET /?X-Amz-Signature=secret"),
        TimeoutError("secret"),
        http.client.InvalidURL("/?secret"),
        http.client.BadStatusLine("secret"),
    ):
        assert "secret" not in str(connection_error(error, "video.example"))


def test_an_origin_shows_no_query() -> None:
    origin = Origin("https", "a.example", 443, (PUBLIC,), "/v?token=secret")
    assert "secret" not in repr(origin)
    assert origin.host_header == "a.example"


def test_a_name_that_changes_before_its_own_redirect_is_checked_again(source: SourceServer) -> None:
    resolver = Rebinding("127.0.0.1", "169.254.169.254")
    source.add("/here", SourceFile(location="/there"))
    source.add("/there", SourceFile(b"secret"))
    with pytest.raises(SourceRefused) as caught:
        read(Gate(allow_private=True, resolver=resolver), source.url("/here", "rebind.example"))
    assert caught.value.code == "address_not_public"
    assert resolver.asked == 2


def test_a_second_address_that_appears_later_is_not_used(source: SourceServer) -> None:
    # The name server adds an inner address once the name has been checked.
    answers = [["127.0.0.1"], ["127.0.0.1", "10.0.0.1"]]
    gate = Gate(allow_private=True, resolver=lambda host, port: answers.pop(0))
    source.add("/a", SourceFile(b"data"))
    origin = gate.check(source.url("/a", "rebind.example"))
    assert origin.addresses == ("127.0.0.1",)
    connection = gate.connection(origin, Interrupt(10))
    assert connection.get({}).read() == b"data"
    connection.release()
    assert len(answers) == 1
