"""The files for containers: what they start and set exists, and they scale by the right runs.

Their forms are checked by ``.ci/run templates``, with the checkers of their makers.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.schemas.objects import State
from prefect.settings import Settings
from prefect.settings.legacy import _get_valid_setting_names
from prefect.states import Scheduled
from prefect_redis.cleanup_queue import RedisWorkerCleanupQueueSettings
from prefect_redis.client import RedisMessagingSettings

from deployments.cluster.stack import MESSAGING
from deployments.local.postgres import DATABASE, PORT, USER, Cluster, program
from tests.support.background_jobs import BackgroundJobs
from tests.test_docs import ROOT, check_prefect, check_pro_video
from tests.test_docs import test_environment_variables_exist as check_our_variables

FOLDER = ROOT / "deployments"
FILES = [
    FOLDER / "docker/Dockerfile",
    *(each for name in ("docker", "kubernetes", "ecs") for each in FOLDER.glob(f"{name}/*.yaml")),
]


class _Loader(yaml.SafeLoader):
    """Reads the short forms of CloudFormation as their values."""


_LOADER: Any = _Loader
_LOADER.add_multi_constructor("!", lambda loader, tag, node: str(node.value))


def values(found: Any) -> Iterator[Any]:
    yield found
    if isinstance(found, dict):
        found = list(found.values())
    for each in found if isinstance(found, list) else ():
        yield from values(each)


def commands(path: Path) -> list[list[str]]:
    text = path.read_text(encoding="utf-8")
    if path.name == "Dockerfile":
        return [json.loads(each) for each in re.findall(r"^CMD (.*)", text, re.M)]
    return [
        each
        for document in yaml.load_all(text, _Loader)
        for each in values(document)
        if isinstance(each, list) and each and each[0] in ("pro-video", "prefect")
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_everything_that_is_started_and_set_exists(path: Path) -> None:
    for program_name, *words in commands(path):
        (check_prefect if program_name == "prefect" else check_pro_video)(words)
    check_our_variables(path)
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(r"\b(PREFECT_[A-Z_]*[A-Z])\b(?!:\?)", text)) - {"PREFECT_ORIGIN"}
    assert named - {"PREFECT_AUTH_STRING"} <= settings()


@cache
def settings() -> set[str]:
    redis = {
        f"{kind.model_config['env_prefix']}{field}".upper()
        for kind in (RedisMessagingSettings, RedisWorkerCleanupQueueSettings)
        for field in kind.model_fields
    }
    return {*redis, *_get_valid_setting_names(Settings)}


def test_the_files_start_every_part() -> None:
    started = {" ".join(each[:3]) for path in FILES for each in commands(path)}
    assert {"prefect server start", "prefect server services", "prefect server database"} < started
    assert {"pro-video register", "pro-video gateway --host"} < started
    assert {"pro-video worker --with-healthcheck"} < started


def test_the_servers_share_their_messages_as_in_the_cluster() -> None:
    composed = yaml.safe_load((FOLDER / "docker/compose.yaml").read_text(encoding="utf-8"))
    assert MESSAGING.items() <= composed["x-server"].items()
    assert MESSAGING.keys() <= settings()


def test_workers_are_added_for_due_runs_alone(background_jobs: BackgroundJobs) -> None:
    jobs = background_jobs.resources.jobs
    documents = yaml.safe_load_all(
        (FOLDER / "kubernetes/autoscaling.yaml").read_text(encoding="utf-8")
    )
    [trigger] = [each["spec"]["triggers"][0] for each in documents if "triggers" in each["spec"]]
    query = trigger["metadata"]["query"].replace("'pro-video'", "'unserved'")
    cluster = Cluster(jobs.stack.folder / "data/postgres")

    def waiting() -> int:
        command = [str(program("psql")), "--host", str(cluster.socket_folder), "--port", str(PORT)]
        command += ["--username", USER, DATABASE, "--tuples-only", "--command", query]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return int(done.stdout)

    jobs.make_pool("unserved", "pro-video")
    job_id = jobs.prepare(background_jobs.resources.tiny_parameters, "pro-video/unserved")
    assert waiting() == 0
    due: State[Any] = Scheduled(scheduled_time=datetime.now(UTC) - timedelta(seconds=10))
    jobs.set_state(job_id, due)
    assert waiting() == 1
