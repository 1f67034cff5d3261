"""The first step of a job: its own copies of the sources, and what these are."""

from __future__ import annotations

from pro_video.records import ProbedFiles, UploadedFiles
from pro_video.request.check import InpaintingRequest, JobRequest
from tasks.connections.records import in_task, read_record, recorded, with_retries
from tasks.probe_sources import probe_files
from tasks.run.job import Job
from tasks.run.places import place_for
from tasks.upload_sources import own_file, upload_sources


async def take_sources(
    job: Job,
    request: JobRequest | InpaintingRequest,
    probed: str,
    max_cost_usd: float | None = None,
) -> tuple[UploadedFiles, ProbedFiles]:
    """Upload the sources and probe the copies, unless an earlier process has done so.

    Args:
        job: the job.
        request: names the sources.
        probed: name of the probes' record.
        max_cost_usd: the most that the job may cost, USD; None for no limit.

    Raises:
        SourceRefused, RequestRefused: sources cannot be used; names all of them.
        TransientError: a source could not be read now.
        Stopped: the job was cancelled or is handed over.
    """

    async def take() -> tuple[UploadedFiles, ProbedFiles]:
        async with place_for("sources"):
            files = await recorded(uploaded_key, lambda: upload_sources(job, request, max_cost_usd))
            job.state.files = files
            return files, await recorded(probed_key, lambda: probe_files(job, files, request))

    uploaded_key, probed_key = f"{job.job_id}/uploaded", f"{job.job_id}/{probed}"
    found = await read_record(uploaded_key), await read_record(probed_key)
    if None in found:
        return await in_task("upload", take)
    job.state.files = found[0]
    return found


async def take_own_file(
    job: Job, request: InpaintingRequest, probed: str
) -> tuple[UploadedFiles, ProbedFiles]:
    """The same for a file that an earlier step of this job has stored.

    Raises:
        StorageRefused: it is gone.
    """
    files = await own_file(job, request.video)
    return files, await recorded(
        f"{job.job_id}/{probed}", lambda: with_retries(lambda: probe_files(job, files, request))
    )
