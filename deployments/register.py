"""Registers blocks, work pool, deployments and automations: ``pro-video register``. Safe to
repeat.

Makes the block types, the blocks whose values the environment gives (see
:mod:`deployments.save_blocks`), the work pool, the deployments of ``prefect.yaml``, and the
automations that notice lost workers. Existing ones are brought up to date, nothing is removed.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import yaml
from prefect import Flow, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import ProcessWorker
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deployments.automations import save_automations
from deployments.save_blocks import ConnectionSettings, prove_given, save_blocks
from deployments.worker.settings import HEARTBEAT_SECONDS, get_worker_settings
from deployments.worker.worker import ProVideoWorker
from pro_video.core.errors import StorageRefused, TransientError
from pro_video.core.settings import get_settings
from tasks.connections.bucket_proof import prove_stores

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

logger = logging.getLogger("pro_video.register")

ISOLATED: Final = "pro-video-isolated"
"""The work pool of Prefect's own process workers."""

_FOLDER = Path(__file__).resolve().parent
# In the project's folder; in an installed package, beside this file.
PROJECT = next(
    path
    for path in (_FOLDER.parent / "prefect.yaml", _FOLDER / "prefect.yaml")
    if path.exists() or path.parent == _FOLDER
)


class _Pool(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str


class _Schedule(BaseModel):
    model_config = ConfigDict(extra="forbid")
    slug: str
    cron: str
    timezone: str
    active: bool
    parameters: dict[str, Any] = Field(default_factory=dict)

    def creation(self) -> DeploymentScheduleCreate:
        when = CronSchedule(cron=self.cron, timezone=self.timezone)
        return DeploymentScheduleCreate(
            schedule=when, active=self.active, parameters=self.parameters, slug=self.slug
        )


class DeploymentFile(BaseModel):
    """One deployment as ``prefect.yaml`` states it; a key that is not known here is an error."""

    model_config = ConfigDict(extra="forbid")

    name: str
    entrypoint: str
    description: str = ""
    tags: list[str] = Field(default_factory=list)
    parameters: dict[str, Any] = Field(default_factory=dict)
    enforce_parameter_schema: bool = True
    concurrency_limit: int | None = None
    schedules: list[_Schedule] = Field(default_factory=list)
    work_pool: _Pool


def read_deployments(path: Path = PROJECT) -> list[DeploymentFile]:
    """The deployments of ``prefect.yaml``.

    Raises:
        ValidationError: a deployment has unknown or missing keys.
    """
    with path.open(encoding="utf-8") as file:
        content = yaml.safe_load(file)
    return [DeploymentFile.model_validate(entry) for entry in content["deployments"]]


async def register(connection: ConnectionSettings) -> list[str]:
    """Register everything; the full names of the deployments, for example ``pro-video/local``.

    Raises:
        StorageRefused: the bucket fails a check that jobs rely on; no block was saved.
        TransientError: S3 does not answer.
        httpx.HTTPError: Prefect does not answer.
    """
    async with get_client() as client:
        await client.hello()
        await prove_given(connection)
        await save_blocks(connection)
        if connection.s3_bucket is None:
            await _prove_registered(client)
        made = {}
        for deployment in read_deployments():
            await _ensure_work_pool(client, deployment.work_pool.name)
            name, identifier = await _deploy(client, deployment)
            made[name] = identifier
        notice = get_worker_settings().notice_seconds
        await save_automations(client, list(made.values()), notice)
        return list(made)


async def _prove_registered(client: PrefectClient) -> None:
    """Check the buckets of blocks that exist already."""
    try:
        await prove_stores(client, get_settings().block)
    except StorageRefused as error:
        if error.code != "block_missing":
            raise
        logger.warning("%s Workers take no jobs before that.", error.message)


async def _ensure_work_pool(client: PrefectClient, name: str) -> None:
    worker, template = ProVideoWorker.type, pool_template()
    description = "Jobs that wait as coroutines of the worker's process."
    if name == ISOLATED:
        worker, template = ProcessWorker.type, isolated_template()
        description = "Jobs with a process each."
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        wanted = WorkPoolCreate(
            name=name, type=worker, description=description, base_job_template=template
        )
        try:
            await client.create_work_pool(wanted)
            return
        except ObjectAlreadyExists:
            # A worker that starts meanwhile makes the pool as well.
            pool = await client.read_work_pool(name)
    if pool.type == worker:
        await client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
    else:
        logger.warning(
            "The work pool %r has the type %r; its own workers run the jobs", name, pool.type
        )


_PERMISSIONS = ("allow_local_files", "allow_private_addresses")


def pool_template() -> dict[str, Any]:
    """The work pool's job template, with the permissions that this process's environment gives.

    So the same rules hold for every worker of the pool, also when it is started by hand.
    """
    template = ProVideoWorker.get_default_base_job_template()
    for name in _PERMISSIONS:
        template["variables"]["properties"][name]["default"] = getattr(get_settings(), name)
    return template


def isolated_template() -> dict[str, Any]:
    """The job template of the pool with a process for each job: the same permissions, and the
    heartbeat that the automations for lost workers wait for."""
    template = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["env"]["default"] = {
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        # Those that it does not give are left to the worker's own environment.
        **{
            f"PRO_VIDEO_{name.upper()}": "true"
            for name in _PERMISSIONS
            if getattr(get_settings(), name)
        },
    }
    return template


async def _deploy(client: PrefectClient, deployment: DeploymentFile) -> tuple[str, str]:
    flow: Flow[..., Any] = load_flow_from_entrypoint(
        deployment.entrypoint, use_placeholder_flow=False
    )
    flow_id = await client.create_flow(flow)
    deployment_id = await client.create_deployment(
        flow_id=flow_id,
        name=deployment.name,
        version=flow.version,
        entrypoint=deployment.entrypoint,
        description=deployment.description,
        tags=deployment.tags,
        parameters=deployment.parameters,
        parameter_openapi_schema=flow.parameters.model_dump_for_openapi(),
        enforce_parameter_schema=deployment.enforce_parameter_schema,
        concurrency_limit=deployment.concurrency_limit,
        schedules=await _schedules(client, f"{flow.name}/{deployment.name}", deployment),
        work_pool_name=deployment.work_pool.name,
        pull_steps=[],
    )
    return f"{flow.name}/{deployment.name}", str(deployment_id)


async def _schedules(
    client: PrefectClient, name: str, deployment: DeploymentFile
) -> list[DeploymentScheduleCreate]:
    """The schedules that a deployment has, which a user may have changed; for a new deployment
    those of its file. Prefect replaces all of them."""
    try:
        present = (await client.read_deployment_by_name(name)).schedules
    except ObjectNotFound:
        return [each.creation() for each in deployment.schedules]
    fields = set(DeploymentScheduleCreate.model_fields)
    return [DeploymentScheduleCreate(**each.model_dump(include=fields)) for each in present]


def main() -> int:
    """Entry of ``pro-video register`` and ``python -m deployments.register``."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    # Forced, because Prefect has configured logging already.
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    try:
        connection = ConnectionSettings()
    except ValidationError as error:
        for problem in error.errors(include_input=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            logger.error("PRO_VIDEO_%s: %s", name, problem["msg"])
        return 2
    try:
        names = asyncio.run(register(connection))
    except httpx.HTTPError as error:
        reason = _reason(error)
        says = (
            "does not accept PREFECT_API_AUTH_STRING (%s). Set it as the server's is"
            if reason == "status 401"
            else "does not answer (%s). Start it or set PREFECT_API_URL"
        )
        logger.error(
            f"Prefect at %s {says}, then register again. Everything registered so far is kept.",
            PREFECT_API_URL.value(),
            reason,
        )
        return 1
    except (StorageRefused, TransientError) as error:
        logger.error("%s Then register again. Everything registered so far is kept.", error.message)
        return 1
    for name in names:
        logger.info("Registered %s", name)
    return 0


def _reason(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"status {error.response.status_code}"
    return type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
