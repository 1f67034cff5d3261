"""Does the memory of the flows' process grow with the size of the video?

Runs one lip-sync job per size on a local stack of its own, each in a fresh worker, and prints the
peak of the worker's resident memory. Usage: ``python -m benchmarks.memory --megabytes 50 1000``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from uuid import UUID

import av
import httpx
import numpy as np
from prefect import get_client
from prefect.deployments import arun_deployment
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.local.stack_process import running_stack

_FRAME = (640, 360)
_FPS = 25
# Noise at this quantiser takes about this many bytes a frame.
_QUANTISER = "4"
_JOB_SECONDS = 3600


def make_video(path: Path, megabytes: int) -> None:
    """A video of noise, which no codec makes small, at least as large as asked for."""
    rng = np.random.default_rng(1)
    width, height = _FRAME
    noise = [rng.integers(0, 255, (height * 3 // 2, width), dtype=np.uint8) for _ in range(16)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "ultrafast", "qp": _QUANTISER, "g": "25", "threads": "2"}
        number = 0
        while number < 3 * _FPS or path.stat().st_size < megabytes * 1_000_000:
            frame = av.VideoFrame.from_ndarray(noise[number % len(noise)], format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
            number += 1
        container.mux(stream.encode())


def make_audio(path: Path) -> None:
    """One second of a tone."""
    tone = (8000 * np.sin(np.arange(16000) * 2 * np.pi * 440 / 16000)).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))


async def run_job(video: Path, audio: Path) -> int:
    """Run one job; the process id of the worker that did."""
    run = await arun_deployment(
        "pro-video/local",
        parameters={
            "video": str(video),
            "segments": [{"start": 0.5, "end": 1.5, "audio": str(audio)}],
        },
        timeout=_JOB_SECONDS,
        poll_interval=1,
    )
    if run.state is None or not run.state.is_completed():
        raise RuntimeError(f"the job ended as {run.state}")
    async with get_client() as client:
        ended = await client.read_flow_run(UUID(str(run.id)))
    return int(str(ended.infrastructure_pid).split(":")[1])


def peak_megabytes(pid: int) -> float:
    """Peak of a process's resident memory, from the kernel's books."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this kernel keeps no peak")


def main() -> None:
    """Entry of ``python -m benchmarks.memory``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[5, 50])
    parser.add_argument("--folder", type=Path, help="where the videos are made; needs the space")
    options = parser.parse_args()
    peaks: list[float] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        make_audio(folder / "line.wav")
        for megabytes in options.megabytes:
            video = folder / f"video-{megabytes}.mp4"
            make_video(video, megabytes)
            with running_stack(folder / f"stack-{megabytes}") as description:
                settings = {"seconds_per_job": 0.5}
                url = f"{description['sync_so']['base_url']}/_sandbox/settings"
                httpx.put(url, json=settings, trust_env=False).raise_for_status()
                with temporary_settings({PREFECT_API_URL: description["prefect_api_url"]}):
                    pid = asyncio.run(run_job(video, folder / "line.wav"))
                peaks.append(peak_megabytes(pid))
            size = video.stat().st_size / 1_000_000
            sys.stdout.write(f"video {size:7.0f} MB   peak of the worker {peaks[-1]:6.0f} MB\n")
            sys.stdout.flush()
    sys.stdout.write(
        f"largest video against smallest: {peaks[-1] / peaks[0]:.2f} times the memory\n"
    )


if __name__ == "__main__":
    main()
