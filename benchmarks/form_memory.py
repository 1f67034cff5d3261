"""How much memory does the gateway need while a large form arrives?

Sends a form with a video of the given size through the gateway of a local stack of its own, and
prints the gateway's resident memory before and its peak after. The video is a small clip and a
padding that readers skip, made while it is sent; the bucket's folder needs the space, and is
removed. Usage: ``python -m benchmarks.form_memory --megabytes 2000``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from deployments.local.stack_process import running_stack
from sandbox.media.sample.make_sample import Sample, describe, make_sample

_FORM = "/api/v1/video-editors/pro-sync-process"
_BOUNDARY = "form-memory-2f8d0c6b51e94a7f"
_CHUNK = 256 * 1024
# Of one form, in seconds; the slowest disk that is worth a measurement brings 2 MB/s.
_SECONDS = 3600.0


class Form:
    """The editor's form, made while it is sent, as often as it is asked for.

    Args:
        sample: clip, lines and areas.
        size: bytes of the video.
    """

    def __init__(self, sample: Sample, size: int) -> None:
        self._clip = sample.clip.read_bytes()
        described: dict[str, Any] = dict(describe(sample))
        segments = [
            {
                "startTime": segment["start"],
                "endTime": segment["end"],
                "audioInput": {"refId": Path(segment["audio"]).name},
            }
            for segment in described["segments"]
        ]
        audios = b"".join(
            _head("audio_files", path.name) + path.read_bytes() + b"\r\n"
            for path in (sample.line_1, sample.line_2)
        )
        self._before = (
            _head("segments_data") + json.dumps(segments).encode() + b"\r\n" + audios
        ) + _head("file", "large.mp4")
        self._after = f"\r\n--{_BOUNDARY}--\r\n".encode()
        self._box = _free_box(size - len(self._clip))
        self._zeros = size - len(self._clip) - len(self._box)

    @property
    def headers(self) -> dict[str, str]:
        """Of the request."""
        fixed = len(self._before) + len(self._clip) + len(self._box) + len(self._after)
        return {
            "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
            "Content-Length": str(fixed + self._zeros),
        }

    def pieces(self) -> Iterator[bytes]:
        """The body; never more than a piece of it at once."""
        yield self._before
        yield self._clip
        yield self._box
        zeros = bytes(_CHUNK)
        for begin in range(0, self._zeros, _CHUNK):
            yield zeros[: min(_CHUNK, self._zeros - begin)]
        yield self._after


def _head(name: str, filename: str | None = None) -> bytes:
    what = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    return f"--{_BOUNDARY}\r\nContent-Disposition: {what}\r\n\r\n".encode()


def _free_box(size: int) -> bytes:
    """The header of an MP4 box of ``size`` bytes that readers skip."""
    if size < 16:
        raise ValueError("the video must be larger than the clip in it")
    if size < 2**32:
        return size.to_bytes(4, "big") + b"free"
    # The size 1 says that the size follows in 64 bits.
    return (1).to_bytes(4, "big") + b"free" + size.to_bytes(8, "big")


def gateway_pid(port: int) -> int:
    """The process that is the gateway of a stack, by what the stack has told it."""
    marker = f"PRO_VIDEO_GATEWAY_PORT={port}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            # Processes end while they are looked at, and others' may not be read.
            continue
        if marker in environment and b"gateway" in command:
            return int(entry.name)
    raise RuntimeError("the gateway's process was not found; this needs Linux")


def memory(pid: int) -> dict[str, float]:
    """Resident memory of a process, now and at its peak, in MB of 1024 KiB."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name in ("VmRSS", "VmHWM"):
            found[name] = round(int(rest.split()[0]) / 1024, 1)
    return {"resident_mb": found["VmRSS"], "peak_mb": found["VmHWM"]}


def send(base_url: str, form: Form) -> dict[str, Any]:
    """Hand one job over, and cancel it; what it took.

    Raises:
        RuntimeError: the form was refused.
    """
    with httpx.Client(base_url=base_url, timeout=_SECONDS, trust_env=False) as client:
        began = time.monotonic()
        answer = client.post(_FORM, content=form.pieces(), headers=form.headers)
        seconds = time.monotonic() - began
        if not answer.is_success:
            raise RuntimeError(f"the gateway answered {answer.status_code}: {answer.text}")
        client.post(answer.json()["cancel_url"]).raise_for_status()
    size = int(form.headers["Content-Length"])
    return {"seconds": round(seconds, 1), "mb_per_second": round(size / 1e6 / seconds, 1)}


def measure(folder: Path, megabytes: int, forms: int) -> dict[str, Any]:
    """Send the forms, at the same time when there are several."""
    sample = make_sample(folder / "sample", width=160, height=90, seconds=2.0)
    form = Form(sample, megabytes * 1_000_000)
    with running_stack(folder / "stack") as description:
        base_url = description["gateway"]["base_url"]
        pid = gateway_pid(httpx.URL(base_url).port or 0)
        before = memory(pid)
        with ThreadPoolExecutor(forms) as threads:
            sent = list(threads.map(lambda _: send(base_url, form), range(forms)))
        after = memory(pid)
    return {"megabytes": megabytes, "forms": sent, "before": before, "after": after}


def main() -> int:
    """Entry of ``python -m benchmarks.form_memory``; one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100, help="size of the video")
    parser.add_argument("--forms", type=int, default=1, help="sent at the same time")
    parser.add_argument("--folder", type=Path, help="where the bucket is kept; needs the space")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        result = measure(Path(name), options.megabytes, options.forms)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
