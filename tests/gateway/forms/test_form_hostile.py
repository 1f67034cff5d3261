"""Forms that are too large, too slow, broken off, or meet servers that are away: a clear answer,
and nothing left behind."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.gateway.gateways import FORM, Gateway, Upstream, form, until

MIB = 1024 * 1024
HEAD = (
    b"--xyz\r\nContent-Disposition: form-data; "
    b'name="file"; filename="a.mp4"\r\nContent-Type: video/mp4\r\n\r\n'
)
FORM_TYPE = {"Content-Type": "multipart/form-data; boundary=xyz"}


def head_of(length: int, *more: str) -> bytes:
    """The headers of a form that announces this length."""
    lines = [f"POST {FORM} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {length}"]
    lines += ["Content-Type: multipart/form-data; boundary=xyz", *more]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


@pytest.fixture
def nothing_left(upstream: Upstream, start_gateway: Callable[..., Gateway]) -> Iterator[None]:
    """The test leaves the uploads in the bucket as they were, while its gateways still run."""
    before = upstream.traces("uploads/")
    yield
    until(lambda: upstream.traces("uploads/") == before)


def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_large_file_goes_in_parts(gateway: Gateway, upstream: Upstream) -> None:
    video = bytes(range(256)) * (13 * MIB // 256) + b"tail"
    with gateway.client() as client:
        answer = client.post(FORM, **form(video=video))
    assert answer.status_code == 200, answer.text
    key = upstream.run(answer.json()["job_id"])["parameters"]["video"].split("/", 3)[3]
    assert upstream.content(key) == video


@pytest.mark.usefixtures("nothing_left")
def test_announced_too_large(start_gateway: Callable[..., Gateway]) -> None:
    with start_gateway(max_form_bytes=MIB).client() as client:
        answer = client.post(FORM, **form(video=b"v" * (2 * MIB)))
    refused(answer, 413, "form_too_large")


@pytest.mark.usefixtures("nothing_left")
def test_endless_body(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(max_form_bytes=12 * MIB)

    def endless() -> Iterator[bytes]:
        yield HEAD
        for _ in range(100):
            yield b"v" * MIB

    with gateway.client() as client:
        answer = client.post(FORM, content=endless(), headers=FORM_TYPE)
    refused(answer, 413, "form_too_large")


@pytest.mark.usefixtures("nothing_left")
def test_audio_and_fields_too_large(start_gateway: Callable[..., Gateway]) -> None:
    with start_gateway(max_audio_bytes=1000).client() as client:
        answer = client.post(FORM, **form(audios=(b"1", b"2" * 1001)))
        refused(answer, 413, "file_too_large")
        answer = client.post(FORM, **form(display_name="n" * 200_000))
        refused(answer, 413, "field_too_large")
        answer = client.post(FORM, **form(audios=(b"1",) * 30))
        refused(answer, 413, "too_many_files")


@pytest.mark.usefixtures("nothing_left")
def test_silent_and_slow_clients(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(
        form_idle_seconds=0.3, form_rate_grace_seconds=0.5, form_bytes_per_second=100_000
    )
    head = head_of(1_000_000)
    for drips in (False, True):
        with socket.create_connection(gateway.address, timeout=10) as connection:
            connection.sendall(head + HEAD)
            connection.settimeout(0.05)
            answer = b""
            for _ in range(200):
                try:
                    answer += connection.recv(65536)
                except TimeoutError:
                    if drips and not answer:
                        connection.sendall(b"v")
                if b"}" in answer:
                    break
        assert answer.startswith(b"HTTP/1.1 408"), answer
        assert b"form_too_slow" in answer


@pytest.mark.usefixtures("nothing_left")
def test_client_goes_away(gateway: Gateway, upstream: Upstream) -> None:
    head = head_of(100_000_000)
    with socket.create_connection(gateway.address, timeout=10) as connection:
        connection.sendall(head + HEAD + b"v" * (11 * MIB))
        until(lambda: upstream.unfinished("uploads/"))


@pytest.mark.usefixtures("nothing_left")
def test_s3_refuses_in_the_middle(gateway: Gateway, upstream: Upstream) -> None:
    control = f"{upstream.s3.meta.endpoint_url}/_sandbox/faults"
    fault = {"call": "upload_part", "kind": "error", "code": "AccessDenied", "times": 20}
    httpx.put(control, json={"faults": [fault]}).raise_for_status()
    try:
        with gateway.client() as client:
            answer = client.post(FORM, **form(video=b"v" * (12 * MIB)))
    finally:
        httpx.delete(control).raise_for_status()
    refused(answer, 503, "upstream_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


def test_prefect_goes_away_in_the_middle(
    start_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    before = upstream.traces("uploads/")
    runs = upstream.count_runs("local")
    gateway = start_gateway(upstream_seconds=2.0, through_relay=True)
    relay = gateway.relay
    assert relay is not None
    request = httpx.Request("POST", gateway.url, **form())
    content = request.read()

    def body() -> Iterator[bytes]:
        yield content[: len(content) // 2]
        relay.cut()
        yield content[len(content) // 2 :]

    kind = {"Content-Type": request.headers["Content-Type"]}
    with gateway.client() as client:
        until(lambda: client.get("/readyz").status_code == 200)
        answer = client.post(FORM, content=body(), headers=kind)
        assert answer.status_code == 503, answer.text
        until(lambda: upstream.traces("uploads/") == before)
        until(lambda: client.get("/readyz").status_code == 503)
        ready = client.get("/readyz")
        assert ready.json()["prefect"] == "unavailable"
        assert ready.json()["s3"] == "ok"
        answer = client.get("/api/v1/jobs")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        relay.mend()
        until(lambda: client.get("/readyz").status_code == 200)
        until(lambda: client.post(FORM, **form()).status_code == 200)
    assert upstream.count_runs("local") == runs + 1


def test_forms_at_once_are_bounded(start_gateway: Callable[..., Gateway]) -> None:
    gateway = start_gateway(forms_at_once=1, form_queue_seconds=0.2)
    head = head_of(1_000, "Expect: 100-continue")
    with (
        socket.create_connection(gateway.address, timeout=10) as first,
        gateway.client() as client,
    ):
        first.sendall(head)
        # The gateway asks for the body once it has a place for the form.
        assert first.recv(1000).startswith(b"HTTP/1.1 100")
        answer = client.post(FORM, **form())
        refused(answer, 503, "too_many_forms")
        assert "Retry-After" in answer.headers


@pytest.mark.usefixtures("nothing_left")
def test_s3_away_in_the_middle(start_gateway: Callable[..., Gateway], upstream: Upstream) -> None:
    """Not even tidying is possible then; it is done as soon as S3 is back."""
    gateway = start_gateway(upstream_seconds=0.5)
    control = f"{upstream.s3.meta.endpoint_url}/_sandbox/faults"
    faults = [
        {"call": call, "kind": "error", "code": "AccessDenied"}
        for call in ("upload_part", "abort_multipart_upload", "list_multipart_uploads")
    ]
    # The audio arrives whole, a part of the video does not.
    request = httpx.Request(
        "POST",
        gateway.url,
        files=[
            ("audio_files", ("a.wav", b"a" * 100, "audio/wav")),
            ("file", ("a.mp4", b"v" * (12 * MIB), "video/mp4")),
        ],
    )
    content = request.read()
    kind = {"Content-Type": request.headers["Content-Type"]}
    httpx.put(control, json={"faults": faults}).raise_for_status()
    try:
        with gateway.client() as client:
            answer = client.post(FORM, content=content, headers=kind)
        # The tidying was tried, and failed too.
        assert httpx.get(control).json() == {"faults": []}
    finally:
        httpx.delete(control).raise_for_status()
    refused(answer, 503, "upstream_unavailable")


@pytest.mark.usefixtures("nothing_left")
def test_file_names_with_raw_control_characters(gateway: Gateway) -> None:
    """As no browser writes them."""
    for name in (b"a\x00b.mp4", b"\x1b[31m.mp4", b"a\tb/../../c.mp4", b"\xff\xfe.mp4"):
        part = HEAD.replace(b"a.mp4", name) + b"video\r\n--xyz--\r\n"
        with gateway.client() as client:
            answer = client.post(FORM, content=part, headers=FORM_TYPE)
        # A name is no reason for anything; the other parts are missing.
        assert answer.status_code in (400, 422), (name, answer.text)
        if answer.status_code == 422:
            fields = {error["field"] for error in answer.json()["errors"]}
            assert fields == {"audio_files", "segments_data"}


@pytest.mark.usefixtures("nothing_left")
def test_too_many_parts(gateway: Gateway) -> None:
    part = b'--xyz\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'
    with gateway.client() as client:
        answer = client.post(FORM, content=part * 100 + b"--xyz--\r\n", headers=FORM_TYPE)
    refused(answer, 400, "form_malformed")
