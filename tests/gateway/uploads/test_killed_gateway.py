"""A kill of the gateway during a form."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from gateway.app.services import open_services
from gateway.base.settings import GatewaySettings
from gateway.uploads.sweeper import Sweeper
from tests.gateway.gateways import FORM, Gateway, Upstream, form, free_port, key_of, until

MIB = 1024 * 1024


@contextlib.contextmanager
def gateway_process(
    upstream: Upstream, token_block: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "--port", str(port)],
        env={
            **os.environ,
            "PREFECT_API_URL": upstream.prefect_api_url,
            "PRO_VIDEO_GATEWAY_TOKEN_BLOCK": token_block,
            "PRO_VIDEO_GATEWAY_JOBS_IN_FLIGHT": "10000",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        assert process.poll() is None
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        until(answers, 60)
        yield process, port
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.timeout(180)
def test_forms_of_a_killed_gateway_are_removed_within_an_hour(
    gateway: Gateway, upstream: Upstream
) -> None:
    with gateway.client() as client:
        whole = client.post(FORM, **form()).json()["job_id"]
    upstream.set_state(whole, "COMPLETED", "Completed")
    used = key_of(upstream.run(whole)["parameters"]["video"])
    objects, unfinished = map(set, upstream.traces("uploads/"))

    audio = (
        b'--xyz\r\nContent-Disposition: form-data; name="audio_files"; filename="a.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n" + b"a" * 1000 + b"\r\n"
    )
    video = (
        b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n'
        b"Content-Type: video/mp4\r\n\r\n" + b"v" * (12 * MIB)
    )
    head = (
        f"POST {FORM} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: multipart/form-data; boundary=xyz\r\n"
        f"Content-Length: {100 * MIB}\r\n\r\n"
    )

    def left() -> tuple[set[str], set[str]]:
        now_objects, now_unfinished = map(set, upstream.traces("uploads/"))
        return now_objects - objects, now_unfinished - unfinished

    with (
        gateway_process(upstream, "tokens-of-a-killed-gateway") as (process, port),
        socket.create_connection(("127.0.0.1", port), 30) as connection,
    ):
        connection.sendall(head.encode() + audio + video)
        until(lambda: all(left()), 60)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    async def swept_after(minutes: float) -> None:
        async with open_services(GatewaySettings()) as services:
            await services[Sweeper].sweep(datetime.now(UTC) + timedelta(minutes=minutes))

    # Another gateway may still receive it.
    asyncio.run(swept_after(25))
    assert all(left())
    asyncio.run(swept_after(45))
    assert left() == (set(), set())
    # A retry of a job may need the files of its form.
    assert upstream.content(used)
