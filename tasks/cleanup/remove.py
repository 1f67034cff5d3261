"""Removes the files of ended jobs from the bucket.

Nothing is removed below a job that works. Its run is labelled first and read again then: a job
that was retried before the label is seen in that reading, and one that is retried later reads the
label at its begin and refuses (:meth:`tasks.run.job.Job.begin`).
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Final
from uuid import UUID

from pro_video.core.clock import SYSTEM_CLOCK, Clock
from pro_video.core.errors import StorageRefused
from pro_video.core.job_names import CLEANED_LABEL, JOBS, RECORDS, FileKind, job_file
from pro_video.core.stopping import current_stop
from pro_video.records import Cleaned
from pro_video.s3.listing import Listed
from pro_video.s3.storage import Storage
from tasks.cleanup.plan import JobFiles, Wish, reason_to_keep
from tasks.cleanup.summary import Summary
from tasks.connections.prefect_queries import read_end_results, read_runs, read_subflows
from tasks.reuse import removed_entries

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun

logger = logging.getLogger("prefect.pro_video.cleanup")

# Jobs that are handled together; also Prefect's largest page.
_CHUNK: Final = 200
_MOST_SECONDS: Final = 3600.0
# Prefect's own names for the results of flow runs.
_RESULT: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class _Removal:
    """The files of one job that go."""

    job_id: str
    run: FlowRun
    kinds: Mapping[FileKind, Sequence[Listed]]

    @property
    def objects(self) -> list[Listed]:
        return list(chain.from_iterable(self.kinds.values()))

    def label(self, now: datetime) -> str:
        """Content of the run's label, earlier removals included."""
        before = Cleaned.of(self.run.labels)
        kinds = {*self.kinds, *(before.kinds if before else ())}
        return Cleaned(at=now, kinds=tuple(sorted(kinds))).model_dump_json()


async def clean_up(
    client: PrefectClient,
    storage: Storage,
    wish: Wish,
    summary: Summary,
    *,
    now: datetime,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Remove files of ended jobs, or find out which would go.

    It ends after an hour; the next one goes on. Interrupted at any point it leaves nothing that
    the next one does not find.

    Args:
        client: a client of Prefect.
        storage: the bucket.
        wish: the files to remove.
        summary: is told of everything that goes or stays.
        now: the time.
        clock: for the limit of its own time.

    Raises:
        StorageRefused: the bucket forbids it.
        TransientError: S3 does not answer.
        httpx.HTTPError: Prefect does not answer.
        Stopped: the run was cancelled or is handed over.
    """
    until = clock.monotonic() + _MOST_SECONDS

    def is_over() -> bool:
        summary.is_partial = clock.monotonic() > until
        return summary.is_partial

    jobs = _jobs_in(storage, wish.jobs)
    gone: set[str] = set()
    while chunk := await asyncio.to_thread(lambda: list(islice(jobs, _CHUNK))):
        current_stop().raise_if_set()
        if is_over():
            return
        removals = await _removals(client, storage, wish, summary, chunk, now)
        if removals and not wish.dry_run:
            removals = await _remove(client, storage, removals, now)
        for each in removals:
            gone.update(found.key for found in each.objects if "/pro_sync_result_" in found.key)
            for kind, objects in each.kinds.items():
                summary.add(each.job_id, kind, objects)
    if "records" in wish.kinds:
        async for entry in removed_entries(
            storage, gone, wish.jobs, before=now - wish.age, is_over=is_over
        ):
            if not wish.dry_run:
                await storage.delete(entry.key)
            summary.add("", "records", [entry])


def _jobs_in(storage: Storage, only: Collection[str]) -> Iterator[JobFiles]:
    """The jobs with files in a bucket; blocking, a page of a folder at a time."""
    below = [f"{job_id}/" for job_id in only] or [""]
    places = [_files_in(storage, f"{folder}{each}") for folder in (JOBS, RECORDS) for each in below]
    for job_id, found in groupby(heapq.merge(*places, key=itemgetter(0)), key=itemgetter(0)):
        yield JobFiles.of(job_id, [each for _, each in found])


def _files_in(storage: Storage, prefix: str) -> Iterator[tuple[str, Listed]]:
    last = ""
    for each in storage.listed(prefix):
        file = job_file(each.key)
        if file is None:
            continue
        if file.job_id < last:
            raise StorageRefused("The S3 server lists objects without order; nothing more goes.")
        last = file.job_id
        yield last, each


async def _removals(
    client: PrefectClient,
    storage: Storage,
    wish: Wish,
    summary: Summary,
    jobs: Sequence[JobFiles],
    now: datetime,
) -> list[_Removal]:
    runs = await read_runs(client, [UUID(each.job_id) for each in jobs])
    found = []
    for job in jobs:
        run = runs.get(UUID(job.job_id))
        reason = reason_to_keep(wish, run, job, place=storage.place, now=now)
        if reason is not None or run is None or run.state is None:
            summary.keep(reason or "")
            continue
        kinds = job.chosen(wish.kinds, completed=run.state.is_completed())
        before = Cleaned.of(run.labels)
        if "records" in wish.kinds and (before is None or "records" not in before.kinds):
            # The results of its runs, which have names of Prefect's own, are there in any case.
            kinds.setdefault("records", [])
        if kinds:
            found.append(_Removal(job.job_id, run, kinds))
    return found


async def _remove(
    client: PrefectClient, storage: Storage, removals: Sequence[_Removal], now: datetime
) -> list[_Removal]:
    """Remove files; those of jobs that were retried meanwhile stay.

    The results of ended runs go first. No retry reads them, and after the label nothing leads to
    those of a job without other records.
    """
    ended = [each.run.id for each in removals if "records" in each.kinds]
    await storage.delete_many(await _end_results(client, ended))
    for each in removals:
        current_stop().raise_if_set()
        await client.update_flow_run_labels(each.run.id, {CLEANED_LABEL: each.label(now)})
    after = await read_runs(client, [each.run.id for each in removals])
    removed = []
    for each in removals:
        current = after.get(each.run.id)
        if current is None or current.state_id == each.run.state_id:
            removed.append(each)
        else:
            before = each.run.labels.get(CLEANED_LABEL, "")
            await client.update_flow_run_labels(each.run.id, {CLEANED_LABEL: before})
            logger.info("Job %s was retried meanwhile; its files stay", each.job_id)
    await storage.delete_many([found.key for each in removed for found in each.objects])
    return removed


async def _end_results(client: PrefectClient, run_ids: Sequence[UUID]) -> list[str]:
    """The objects with the results of jobs' runs, which Prefect names."""
    if not run_ids:
        return []
    subflows = await read_subflows(client, run_ids)
    names = await read_end_results(client, [*run_ids, *subflows])
    return [f"{RECORDS}{name}" for name in names if _RESULT.fullmatch(name)]
