"""The deployments as users see them: pinned by a snapshot, and safe to register again.

After a change that is meant, write the snapshots anew: PRO_VIDEO_UPDATE_SNAPSHOTS=1 make test
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from prefect import Flow, get_client
from prefect.exceptions import ObjectNotFound
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.register import (
    DeploymentFile,
    _deploy,
    _ensure_work_pool,
    read_deployments,
)
from deployments.worker.worker import ProVideoWorker
from pro_video.s3.proof import NO_CONDITIONS
from pro_video.s3.storage import make_client
from sandbox.s3 import start_s3
from tests.support.commands import clean_environment, run_python
from tests.support.stack import LocalStack

SNAPSHOTS = Path(__file__).parent / "snapshots"
DEPLOYMENTS = {
    each.entrypoint.rpartition(".")[2] + ("" if each.name == "local" else f"_{each.name}"): each
    for each in read_deployments()
}


def flow_of(deployment: DeploymentFile) -> Flow[..., Any]:
    flow: Flow[..., Any] = load_flow_from_entrypoint(
        deployment.entrypoint, use_placeholder_flow=False
    )
    return flow


def schema_of(deployment: DeploymentFile) -> dict[str, Any]:
    return flow_of(deployment).parameters.model_dump_for_openapi()


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_is_as_it_was(name: str) -> None:
    deployment = DEPLOYMENTS[name]
    found = {
        "deployment": f"{flow_of(deployment).name}/{deployment.name}",
        **deployment.model_dump(mode="json", exclude={"name"}),
        "schema": schema_of(deployment),
    }
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    file = SNAPSHOTS / f"{name}.json"
    if os.environ.get("PRO_VIDEO_UPDATE_SNAPSHOTS"):
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text


def test_every_snapshot_has_its_deployment() -> None:
    assert {path.stem for path in SNAPSHOTS.glob("*.json")} == set(DEPLOYMENTS)


@pytest.mark.parametrize("name", ["pro_video_flow", "text_inpainting_flow", "cleanup_flow"])
def test_every_parameter_tells_what_it_is(name: str) -> None:
    schema = schema_of(DEPLOYMENTS[name])
    fields = dict(schema["properties"])
    for model, definition in schema.get("definitions", {}).items():
        fields |= {f"{model}.{field}": each for field, each in definition["properties"].items()}
    assert fields
    # The form shows title and description of the model behind a reference.
    fields = {field: resolved(schema, each) for field, each in fields.items()}
    untold = [
        field
        for field, each in fields.items()
        # Prefect writes the parameter's name where the code gives no title.
        if not each.get("description") or each.get("title", field) == field
    ]
    assert untold == []


@pytest.mark.parametrize("name", ["pro_video_flow", "text_inpainting_flow"])
def test_the_form_holds_no_secret_and_no_nested_request(name: str) -> None:
    schema = schema_of(DEPLOYMENTS[name])
    assert not [field for field in schema["properties"] if "key" in field or "secret" in field]
    plain = {"string", "number", "array", "boolean", "integer"}
    kinds = {
        each.get("type") or tuple(sorted(kind["type"] for kind in each["anyOf"]))
        for each in (resolved(schema, each) for each in schema["properties"].values())
    }
    assert kinds <= plain | {("null", "number"), "object"}
    nested = [field for field, each in schema["properties"].items() if "$ref" in each]
    assert nested in ([], ["active_speaker"])


def resolved(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    """The definition of a field that is a reference, else the field."""
    name = field.get("$ref", "").rpartition("/")[2]
    return dict(schema["definitions"][name]) if name else field


def stable(value: Any) -> Any:
    """A value without the order of its sets, which JSON has as lists, and without inner ids."""
    if isinstance(value, list):
        return sorted((stable(each) for each in value), key=json.dumps)
    if isinstance(value, dict):
        return {name: stable(each) for name, each in sorted(value.items()) if name != "id"}
    return value


def registered(stack: LocalStack) -> dict[str, Any]:
    """Everything that a registration makes, without what changes by itself.

    Other tests make deployments and work pools of other names meanwhile, and run
    ``prefect deploy``, which leaves out definitions where a schema has none.
    """
    ours = {
        "deployments": {each.name for each in DEPLOYMENTS.values()},
        "work_pools": {each.work_pool.name for each in DEPLOYMENTS.values()},
    }
    paths = {
        "deployments": ["id", "name", "flow_id", "entrypoint", "parameter_openapi_schema"],
        "work_pools": ["id", "name", "type"],
        "block_documents": ["id", "name", "block_type_id"],
        "block_types": ["id", "slug"],
        "automations": ["id", "name", "trigger", "actions"],
    }
    found: dict[str, Any] = {}
    with httpx.Client(base_url=stack.api_url, timeout=60, trust_env=False) as client:
        for path, fields in paths.items():
            rows = client.post(f"{path}/filter", json={}).raise_for_status().json()
            rows = [row for row in rows if path not in ours or row["name"] in ours[path]]
            for row in rows:
                schema = row.get("parameter_openapi_schema")
                if schema and not schema.get("definitions"):
                    schema.pop("definitions", None)
            found[path] = sorted(
                (
                    json.dumps([stable(row[field]) for field in fields], sort_keys=True)
                    for row in rows
                ),
            )
    return found


@pytest.mark.timeout(300)
def test_registering_again_changes_nothing(stack: LocalStack) -> None:
    before = registered(stack)
    assert all(before.values())
    done = run_python("-m", "deployments.register", env=stack.process_environment())
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("pro-video/local", "text-inpainting/local"):
        assert f"Registered {name}" in done.stderr + done.stdout
    assert not [key for key in _secrets(stack) if key in done.stderr + done.stdout]
    assert registered(stack) == before


async def test_the_schedule_of_the_cleanup_is_off_and_stays_as_its_user_sets_it(
    prefect_api_url: str,
) -> None:
    cleanup = DEPLOYMENTS["cleanup_flow"]
    with temporary_settings({PREFECT_API_URL: prefect_api_url}):
        async with get_client() as client:

            async def registered_again() -> list[Any]:
                await _ensure_work_pool(client, cleanup.work_pool.name)
                name, _ = await _deploy(client, cleanup)
                return (await client.read_deployment_by_name(name)).schedules

            [schedule] = await registered_again()
            assert not schedule.active
            # A run by schedule is no dry run.
            assert schedule.parameters == {"dry_run": False}
            # With the parameters, as the toggle of Prefect's UI does: else Prefect empties them.
            await client.update_deployment_schedule(
                schedule.deployment_id, schedule.id, active=True, parameters=schedule.parameters
            )
            [again] = await registered_again()
            assert (again.active, again.slug) == (True, "daily")
            assert again.parameters == schedule.parameters


def _secrets(stack: LocalStack) -> list[str]:
    description = stack.description
    return [
        description["s3"]["secret_key"],
        description["sync_so"]["api_key"],
        description["ghostcut"]["app_secret"],
    ]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"PRO_VIDEO_S3_ACCESS_KEY": "a-key"}, "PRO_VIDEO_S3_SECRET_KEY"),
        ({"PRO_VIDEO_GHOSTCUT_APP_SECRET": "a-secret"}, "PRO_VIDEO_GHOSTCUT_APP_KEY"),
    ],
)
def test_half_a_pair_of_keys_is_refused_by_name(given: dict[str, str], says: str) -> None:
    done = run_python(
        "-m",
        "deployments.register",
        env=clean_environment(**given, PREFECT_API_URL="http://127.0.0.1:9/api"),
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert next(iter(given.values())) not in done.stderr


def test_a_prefect_that_is_not_there_is_named(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/api"
    done = run_python(
        "-m",
        "deployments.register",
        env=clean_environment(
            PREFECT_API_URL=url, PREFECT_CLIENT_MAX_RETRIES="0", PREFECT_HOME=str(tmp_path)
        ),
    )
    assert done.returncode == 1
    assert f"Prefect at {url} does not answer (ConnectError)" in done.stderr
    assert "Traceback" not in done.stderr


class FaultyStore:
    """An S3 server that ignores the conditions of writes, and commands that use it."""

    def __init__(self, endpoint_url: str, api_url: str, home: Path) -> None:
        self.environment = clean_environment(
            PREFECT_API_URL=api_url,
            PREFECT_HOME=str(home),
            PRO_VIDEO_BLOCK=f"faulty-{secrets.token_hex(4)}",
            PRO_VIDEO_S3_BUCKET="faulty",
            PRO_VIDEO_S3_REGION="us-east-1",
            PRO_VIDEO_S3_ENDPOINT_URL=endpoint_url,
            PRO_VIDEO_S3_ACCESS_KEY="an-access-key",
            PRO_VIDEO_S3_SECRET_KEY="c4n4ry-secret",
        )
        client = make_client(
            endpoint_url=endpoint_url,
            region="us-east-1",
            access_key="an-access-key",
            secret_key="c4n4ry-secret",
        )
        client.create_bucket(Bucket="faulty")
        client.close()
        fault = {"call": "put_object", "kind": "ignore_condition", "times": None}
        answer = httpx.put(f"{endpoint_url}/_sandbox/faults", json={"faults": [fault]})
        answer.raise_for_status()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        done = run_python(*command, env=self.environment)
        assert "c4n4ry" not in done.stdout + done.stderr
        return done


@pytest.fixture
def faulty_store(prefect_api_url: str, tmp_path: Path) -> Iterator[FaultyStore]:
    with start_s3(
        tmp_path / "s3", access_key="an-access-key", secret_key="c4n4ry-secret"
    ) as server:
        yield FaultyStore(server.url, prefect_api_url, tmp_path / "prefect")


@pytest.mark.timeout(300)
def test_a_bucket_without_conditional_writes_is_not_registered(faulty_store: FaultyStore) -> None:
    done = faulty_store.run("-m", "deployments.register")
    assert done.returncode == 1
    assert NO_CONDITIONS in done.stderr
    assert "s3://faulty at 127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr
    url = faulty_store.environment["PREFECT_API_URL"]
    blocks = httpx.post(f"{url}/block_documents/filter", json={}, trust_env=False)
    name = faulty_store.environment["PRO_VIDEO_BLOCK"]
    assert name not in {block["name"] for block in blocks.raise_for_status().json()}


@pytest.mark.timeout(300)
def test_no_worker_starts_on_a_bucket_without_conditional_writes(faulty_store: FaultyStore) -> None:
    saving = (
        "import asyncio; from deployments.save_blocks import ConnectionSettings, save_blocks; "
        "asyncio.run(save_blocks(ConnectionSettings()))"
    )
    assert faulty_store.run("-c", saving).returncode == 0
    start = ("worker", "start", "--pool", "faulty", "--type", "pro-video")
    done = faulty_store.run("-m", "prefect", *start)
    assert done.returncode == 1
    told = " ".join((done.stdout + done.stderr).split())
    assert "The worker does not start: s3://faulty at 127.0.0.1" in told
    assert NO_CONDITIONS in told
    assert "Traceback" not in told


async def test_a_pool_that_a_worker_makes_meanwhile(
    prefect_api_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "made-meanwhile"
    with temporary_settings({PREFECT_API_URL: prefect_api_url}):
        async with get_client() as client:
            reads: list[Any] = [
                client.read_work_pool,
                AsyncMock(side_effect=ObjectNotFound(Exception())),
            ]
            await _ensure_work_pool(client, name)
            with monkeypatch.context() as patched:
                patched.setattr(client, "read_work_pool", lambda name: reads.pop()(name))
                await _ensure_work_pool(client, name)
            assert (await client.read_work_pool(name)).type == ProVideoWorker.type
