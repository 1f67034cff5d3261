"""``make demo``: one job through all stages, on a stack that is started for it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
from prefect.settings import PREFECT_API_URL, temporary_settings
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from deployments.local.demo_job import DemoJob, job_of_sample, job_of_video
from deployments.local.follow_job import JobEnd, JobStatus, follow_job
from deployments.local.stack import free_port_base, open_stack, port_base_from_environment
from deployments.local.stack_process import StackNotReady, running_stack
from pro_video.core.errors import ProVideoError
from pro_video.s3.storage import Storage, make_client

# The sandbox needs less than a minute for the sample.
_JOB_SECONDS = 1800.0

console = Console()


class DemoFailed(Exception):
    """The demo's job failed; the message says why."""


def show_job(description: dict[str, Any], job: DemoJob) -> JobEnd:
    """Run the job through its deployment and show its progress."""
    bar = Progress(
        TextColumn("[bold]{task.description:<24}"),
        BarColumn(bar_width=40),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
    )
    with bar, temporary_settings({PREFECT_API_URL: description["prefect_api_url"]}):
        task = bar.add_task("Waiting for the worker", total=100)

        def show(status: JobStatus) -> None:
            bar.update(task, completed=status.percent, description=status.name)
            if status.entered:
                bar.console.print(f"  {status.name}: {status.message}", highlight=False)

        return asyncio.run(follow_job(job.parameters, show, limit=_JOB_SECONDS))


async def fetch_results(description: dict[str, Any], ended: JobEnd, out: Path) -> list[Path]:
    """Copy the result and the before/after picture out of the bucket.

    Raises:
        ProVideoError: from storage.
    """
    s3 = description["s3"]
    client = make_client(
        endpoint_url=s3["endpoint_url"],
        region=s3["region"],
        access_key=s3["access_key"],
        secret_key=s3["secret_key"],
    )
    storage = Storage(client, s3["bucket"])
    wanted = [
        (ended.result.output_key, "result.mp4"),
        (ended.result.preview_key, "before-after.jpg"),
    ]
    written = []
    for key, name in wanted:
        if key is not None:
            await storage.download(key, out / name)
            written.append(out / name)
    client.close()
    return written


def _shorten_jobs(description: dict[str, Any]) -> None:
    # The emulators take a tenth of the vendors' time by themselves, too long for a demo.
    for provider in ("sync_so", "ghostcut"):
        url = f"{description[provider]['base_url']}/_sandbox/settings"
        httpx.put(url, json={"time_scale": 0.05}, trust_env=False).raise_for_status()


def run_demo(video: Path | None, folder: Path, out: Path) -> int:
    """The whole demo; the exit status."""
    if video is not None and not video.is_file():
        raise DemoFailed(f"There is no video {video}")
    port_base = port_base_from_environment() or free_port_base()
    stack = open_stack(folder, port_base)
    stack.require_free_ports()
    for note in stack.database.notes:
        console.print(note, highlight=False)
    console.print("Making the sample …" if video is None else f"Looking at {video} …")
    job = (
        job_of_sample(folder / "sample")
        if video is None
        else job_of_video(video, folder / "sample")
    )
    out.mkdir(parents=True, exist_ok=True)
    console.print("Starting Prefect, the sandbox (S3, Sync.so, GhostCut) and a worker …")
    with running_stack(folder, port_base=port_base, log=folder / "demo.log") as description:
        _shorten_jobs(description)
        console.print(f"Prefect's UI, while this runs: {description['prefect_api_url'][:-4]}")
        ended = show_job(description, job)
        if ended.result.status != "completed":
            raise DemoFailed(f"{ended.state_name}: {ended.message}")
        written = asyncio.run(fetch_results(description, ended, out))
    if video is None:
        shutil.copyfile(job.video, out / "input.mp4")
    console.print(f"[bold green]{ended.state_name}[/]: {ended.message}", highlight=False)
    for path in written:
        console.print(f"  {path}", highlight=False)
    return 0


def main() -> int:
    """Entry of ``pro-video demo`` and ``python -m deployments.local.demo``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", type=Path, help="your own video instead of the sample")
    parser.add_argument("--folder", type=Path, default=Path(".sandbox/demo"))
    parser.add_argument("--out", type=Path, default=Path("out"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # Stopping this stops the stack with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        return run_demo(options.video, options.folder, options.out)
    except (DemoFailed, StackNotReady, ProVideoError, ValueError) as error:
        console.print(f"[bold red]{error}[/]", highlight=False)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
