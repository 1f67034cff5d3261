"""Measures what jobs leave behind, and what is left of it after the cleanup and Prefect's vacuum.

    python -m benchmarks.retention --jobs 100

Runs jobs on a local stack of its own (of ten: eight of lip-sync alone, one with a text removal, one
that fails at Sync.so), then, as if 31 days had passed, the cleanup of all kinds of files; retries
the failed jobs, which must buy nothing; then, as if 121 days had passed, the database vacuum of
Prefect with the retention of the stack. Prints the objects and rows after each step as a table in
Markdown; the exit status is 1 when a retry bought something or objects of jobs are left.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, get_args
from unittest.mock import patch
from uuid import UUID

import httpx
import sqlalchemy as sa
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.server.database import PrefectDBInterface, provide_database_interface
from prefect.server.services import db_vacuum
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    temporary_settings,
)
from prefect.states import Scheduled

from deployments.local.stack import free_port_base, open_stack, port_base_from_environment
from deployments.local.stack_process import running_stack
from pro_video.core.job_names import FileKind
from pro_video.s3.storage import Storage
from sandbox.media.sample.make_sample import describe, make_sample
from tasks.cleanup.plan import Wish
from tasks.cleanup.remove import clean_up
from tasks.cleanup.summary import Summary
from tasks.connections.connections import connections

_TABLES: Final = (
    "flow_run",
    "flow_run_state",
    "task_run",
    "task_run_state",
    "artifact",
    "log",
    "events",
    "event_resources",
)
_FOLDERS: Final = ("jobs/", "results/")
_CLEANUP: Final = timedelta(days=31)
_VACUUM: Final = timedelta(days=121)
_AT_ONCE: Final = 8
_PAUSE: Final = 0.5
_SETTLE: Final = 5.0
_MOST_LOOKS: Final = 24
_JOB_SECONDS: Final = 1800.0
_ENDS: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
_DENIED: Final = {"call": "job", "kind": "failed", "code": "generation_input_video_invalid"}

Counts = dict[str, int]


async def count(storage: Storage, db: PrefectDBInterface) -> Counts:
    """Objects, bytes and rows, as they are now."""
    found: Counts = {}
    size = 0
    for folder in _FOLDERS:
        objects = await asyncio.to_thread(lambda name=folder: list(storage.listed(name)))
        found[f"objects in {folder}"] = len(objects)
        size += sum(each.size for each in objects)
    found["kB of objects"] = size // 1000
    async with db.session_context() as session:
        for table in _TABLES:
            rows = await session.execute(sa.text(f"select count(*) from {table}"))
            found[f"rows of {table}"] = int(rows.scalar_one())
        if session.get_bind().dialect.name == "postgresql":
            bytes_ = sa.text("select pg_database_size(current_database())")
            found["kB of the database"] = int((await session.execute(bytes_)).scalar_one()) // 1000
    return found


async def settled(storage: Storage, db: PrefectDBInterface) -> Counts:
    """The counts once they stand still: Prefect writes events and task runs with a delay."""
    found = await count(storage, db)
    for _ in range(_MOST_LOOKS):
        await asyncio.sleep(_SETTLE)
        before, found = found, await count(storage, db)
        if all(found[name] == before[name] for name in found if not name.startswith("kB")):
            break
    return found


async def run_jobs(
    client: PrefectClient, deployment: str, each: Sequence[Mapping[str, Any]]
) -> list[UUID]:
    """Run jobs with these parameters, a few at a time, to their ends; their ids."""
    found = await client.read_deployment_by_name(deployment)
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(parameters: Mapping[str, Any]) -> UUID:
        async with free:
            run = await client.create_flow_run_from_deployment(
                found.id, parameters=dict(parameters)
            )
            await until_ended(client, run.id)
            return run.id

    return await asyncio.gather(*(one(parameters) for parameters in each))


async def until_ended(client: PrefectClient, run_id: UUID) -> None:
    """Wait for the end of a run."""
    async with asyncio.timeout(_JOB_SECONDS):
        while True:
            state = (await client.read_flow_run(run_id)).state
            if state is not None and state.type.value in _ENDS:
                return
            await asyncio.sleep(_PAUSE)


def bought(stack: Mapping[str, Any]) -> Counts:
    """Accepted attempts at each provider."""
    found = {}
    for provider in ("sync_so", "ghostcut"):
        url = f"{stack[provider]['base_url']}/_sandbox/audit"
        found[provider] = len(httpx.get(url, trust_env=False).json()["jobs"])
    return found


async def vacuum(db: PrefectDBInterface, now: datetime) -> None:
    """Prefect's database vacuum with the settings of this process, as if it ran at ``now``."""
    with patch.object(db_vacuum, "now", lambda _zone: now):
        await db_vacuum.vacuum_old_flow_runs(db=db)
        # Subflows become runs without a parent.
        await db_vacuum.vacuum_old_flow_runs(db=db)
        await db_vacuum.vacuum_events_with_retention_overrides(db=db)
        await db_vacuum.vacuum_old_events(db=db)
        await db_vacuum.vacuum_orphaned_logs(db=db)
        await db_vacuum.vacuum_orphaned_artifacts(db=db)
        await db_vacuum.vacuum_stale_artifact_collections(db=db)


async def measure(stack: Mapping[str, Any], sample: Mapping[str, Any], jobs: int) -> bool:
    """Print the table; whether the cleanup kept its promises."""
    short = {name: sample[name] for name in ("video", "segments")} | {"reuse_lip_sync": False}
    chained = short | {"annotation_areas": sample["annotation_areas"]}
    failing = max(1, jobs // 10)
    columns: dict[str, Counts] = {}
    kinds: tuple[FileKind, ...] = get_args(FileKind)
    db = provide_database_interface()
    async with get_client() as client:
        storage = (await connections()).storage
        columns["before"] = await count(storage, db)
        faults = {"faults": [{**_DENIED, "times": failing}]}
        async with httpx.AsyncClient(trust_env=False) as control:
            url = f"{stack['sync_so']['base_url']}/_sandbox/faults"
            (await control.put(url, json=faults)).raise_for_status()
        failed = await run_jobs(client, "pro-video/local", [short] * failing)
        rest = [chained] * failing + [short] * (jobs - 2 * failing)
        await run_jobs(client, "pro-video/local", rest)
        columns[f"{jobs} jobs"] = await settled(storage, db)
        paid = bought(stack)

        summary = Summary(dry_run=False)
        wish = Wish(timedelta(days=2), kinds, dry_run=False)
        await clean_up(client, storage, wish, summary, now=datetime.now(UTC) + _CLEANUP)
        for run_id in failed:
            await client.set_flow_run_state(run_id, Scheduled())
            await until_ended(client, run_id)
        columns["cleanup, retries"] = await settled(storage, db)
        await vacuum(db, datetime.now(UTC) + _VACUUM)
        columns["vacuum"] = await count(storage, db)
    show(columns, jobs)
    sys.stdout.write(f"\n{summary.message}\nbought {paid}, after the retries {bought(stack)}\n")
    left = sum(columns["cleanup, retries"][f"objects in {folder}"] for folder in _FOLDERS)
    return bought(stack) == paid and left == 0


def show(columns: Mapping[str, Counts], jobs: int) -> None:
    """Print the counts, and what each job has added, as a table."""
    before, after = list(columns.values())[:2]
    lines = ["| | a job | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for name in before:
        each = (after[name] - before[name]) / jobs
        cells = [f"{column[name]:,}" for column in columns.values()]
        lines.append(f"| {name} | {each:.1f} | " + " | ".join(cells) + " |")
    sys.stdout.write("\n".join(lines) + "\n")


def main() -> int:
    """Entry of ``python -m benchmarks.retention``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sample = describe(make_sample(folder / "sample", width=160, height=90, seconds=2.0))
        port = port_base_from_environment() or free_port_base()
        with running_stack(folder / "stack", port_base=port) as stack:
            environment = open_stack(folder / "stack", port).environment()
            os.environ.update(environment)
            chosen = {
                PREFECT_API_URL: stack["prefect_api_url"],
                PREFECT_SERVER_DATABASE_CONNECTION_URL: environment[
                    "PREFECT_SERVER_DATABASE_CONNECTION_URL"
                ],
            }
            with temporary_settings(chosen):
                return 0 if asyncio.run(measure(stack, sample, options.jobs)) else 1


if __name__ == "__main__":
    sys.exit(main())
