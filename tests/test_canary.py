"""No key and no signed link in any place where people and tools look: states, logs, artifacts,
events, parameters, set-up, output and the jobs' objects.

The stack's own keys are the canaries. Jobs end in every way there is; then each place is searched.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from sandbox.media.sample.make_sample import describe
from tests.support import secret_places
from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.jobs import Jobs
from tests.support.secret_places import Place, Prefect
from tests.support.stack import LocalStack

pytestmark = pytest.mark.timeout(1000)

SOURCE_SECRET = "canary-of-a-source-5d1c"
"""Stands in the query of a source's address where there is nothing."""
VENDOR_SECRET = "canary-in-a-reason-77aa"
"""Stands in the link that a vendor quotes in the reason of a failure."""
SIGNED = re.compile(
    r"(x-amz-(signature|credential|security-token)|[?&](signature|token|sig))(=|%3d)"
    r"(?!\*|REDACTED|redacted|…)",
    re.IGNORECASE,
)
"""Marks of a signed link, of ours and of the emulators'."""


@dataclass(frozen=True)
class Ended:
    """Jobs that have ended in every way, and where to look."""

    jobs: Jobs
    ids: dict[str, str]
    since: datetime
    prefect: Prefect


@background_job
def all_ends(resources: Resources) -> tuple[dict[str, str], datetime]:
    """One job for each way to end; when the first began."""
    jobs = resources.jobs
    since = datetime.now(UTC) - timedelta(seconds=1)
    described: dict[str, Any] = describe(resources.tiny)
    plain = {"video": described["video"], "segments": described["segments"]}
    areas = {**plain, "annotation_areas": [_everywhere(resources.tiny.watermark_region)]}
    query = f"X-Amz-Signature={SOURCE_SECRET}&token={SOURCE_SECRET}"
    absent = f"{jobs.stack.base_url('sync_so')}/absent.mp4?{query}"
    reason = f"cannot open https://cdn.example/a.mp4?X-Amz-Signature={VENDOR_SECRET}&Expires=1"
    ids = {
        "completed": jobs.prepare(areas),
        "lip-sync failed": jobs.prepare(areas),
        "inpainting failed": jobs.prepare(areas),
        "refused": jobs.prepare({**plain, "segments": [described["segments"][0]] * 2}),
        "no source": jobs.prepare({**plain, "video": absent}),
        "cancelled": jobs.prepare(plain),
    }
    jobs.plan_faults(
        "sync_so",
        _fault("create", ids["completed"], "drop_connection", when="after"),
        _fault(
            "job",
            ids["lip-sync failed"],
            "failed",
            code="generation_input_video_invalid",
            message=reason,
        ),
        _fault("job", ids["cancelled"], "slow", seconds=120),
    )
    jobs.plan_faults(
        "ghostcut", _fault("job", ids["inpainting failed"], "failed", status=20, detail=reason)
    )
    jobs.release(*ids.values())
    jobs.until_accepted("sync_so", ids["cancelled"])
    jobs.cancel(ids["cancelled"])
    jobs.finish(ids.values())
    return ids, since


@pytest.fixture(scope="module")
def ended(background_jobs: BackgroundJobs) -> Iterator[Ended]:
    """The jobs, ended."""
    ids, since = background_jobs.result(all_ends)
    jobs = background_jobs.resources.jobs
    with httpx.Client(base_url=jobs.stack.api_url, timeout=30, trust_env=False) as reading:
        yield Ended(jobs, ids, since, Prefect(reading, ids.values()))


def _fault(call: str, job_id: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"call": call, "kind": kind, "match": {"reference": f"pv-{job_id}-*"}, **more}


def _everywhere(region: tuple[float, float, float, float]) -> dict[str, Any]:
    x0, y0, x1, y1 = region
    place = {"x": x0, "y": y0, "width": round(x1 - x0, 4), "height": round(y1 - y0, 4)}
    return {"kind": "erase", "region": place, "start": 0, "end": None}


def spellings(secret: str) -> set[str]:
    """A secret as it may stand in a text."""
    encoded = base64.b64encode(secret.encode()).decode()
    return {secret, quote(secret, safe=""), encoded, encoded.rstrip("="), secret[::-1]}


@pytest.fixture(scope="module")
def keys(stack: LocalStack) -> dict[str, set[str]]:
    """The canaries by name, each in all of its spellings."""
    found = stack.description
    secrets = {
        "S3 secret key": found["s3"]["secret_key"],
        "Sync.so key": found["sync_so"]["api_key"],
        "GhostCut secret": found["ghostcut"]["app_secret"],
        "secret of a vendor's link": VENDOR_SECRET,
    }
    assert all(len(secret) >= 12 for secret in secrets.values())
    return {name: spellings(secret) for name, secret in secrets.items()}


def leaks(found: Iterable[Place], keys: dict[str, set[str]]) -> list[str]:
    """The places of secrets; never the secret itself, which a test's output must not show."""
    leaking, looked_at = [], 0
    for place, text in found:
        looked_at += 1
        names = [name for name, words in keys.items() if any(word in text for word in words)]
        if SIGNED.search(text):
            names.append("signed link")
        leaking += [f"{name} in {place}" for name in names]
    assert looked_at > 0, "nothing was looked at"
    return sorted(set(leaking))


@pytest.fixture(scope="module")
def all_keys(keys: dict[str, set[str]]) -> dict[str, set[str]]:
    """For places that repeat no parameters: the secret of the source's address too."""
    return {**keys, "secret of a source": spellings(SOURCE_SECRET)}


def test_the_jobs_ended_as_they_should(ended: Ended) -> None:
    states = {name: ended.jobs.state(job_id) for name, job_id in ended.ids.items()}
    assert {name: state.name for name, state in states.items()} == {
        "completed": "Completed",
        "lip-sync failed": "Failed",
        "inpainting failed": "Failed",
        "refused": "Failed",
        "no source": "Failed",
        "cancelled": "Cancelled",
    }
    # The vendor's words reach the user, without their link's query.
    for name in ("lip-sync failed", "inpainting failed"):
        assert "cannot open https://cdn.example/a.mp4" in (states[name].message or "")


def test_the_search_finds_what_it_looks_for(keys: dict[str, set[str]]) -> None:
    for words in keys.values():
        for word in words:
            assert leaks([("here", f"a {word} b")], keys)
    for link in ("a?X-Amz-Signature=1", "a?x=1&token=2", "a%3FX-Amz-Credential%3D1"):
        assert leaks([("here", link)], keys) == ["signed link in here"]
    assert leaks([("here", "nothing")], keys) == []


def test_runs_and_their_states(ended: Ended, keys: dict[str, set[str]]) -> None:
    # The one run whose user gave a signed address has it in its parameters.
    given = ended.jobs.run(ended.ids["no source"]).name
    found = [place for place in ended.prefect.runs_and_states() if place[0] != f"flow run {given}"]
    assert leaks(found, {**keys, "secret of a source": spellings(SOURCE_SECRET)}) == []


def test_logs(ended: Ended, all_keys: dict[str, set[str]]) -> None:
    assert leaks(ended.prefect.logs(), all_keys) == []


def test_artifacts(ended: Ended, all_keys: dict[str, set[str]]) -> None:
    assert leaks(ended.prefect.artifacts(), all_keys) == []


def test_events(ended: Ended, all_keys: dict[str, set[str]]) -> None:
    found = list(ended.prefect.events(ended.since))
    for kind in ("flow-run", "task-run"):
        assert any(place.startswith(f"event prefect.{kind}.") for place, _ in found)
    assert leaks(found, all_keys) == []


def test_work_pools_deployments_automations_and_blocks(
    ended: Ended, all_keys: dict[str, set[str]]
) -> None:
    assert leaks(ended.prefect.set_up(), all_keys) == []


def test_output_of_worker_and_supervisor(ended: Ended, all_keys: dict[str, set[str]]) -> None:
    assert leaks(secret_places.output(ended.jobs.stack), all_keys) == []


def test_objects_and_records(ended: Ended, all_keys: dict[str, set[str]]) -> None:
    found = list(secret_places.objects(ended.jobs.stack, ended.ids.values()))
    assert any(place.endswith("/job.json") for place, _ in found)
    assert any("-submitted" in place for place, _ in found)
    assert leaks(found, all_keys) == []


def test_errors_of_a_result(ended: Ended, all_keys: dict[str, set[str]]) -> None:
    """The typed results of failed jobs, but for the links that they are there to give."""
    texts = []
    for name in ("lip-sync failed", "inpainting failed", "refused", "no source"):
        result = ended.jobs.result(ended.ids[name])
        texts.append((name, repr(result.error) + result.message + repr(result.metadata)))
    assert leaks(texts, all_keys) == []


def test_files_of_the_stack_that_hold_keys_are_its_owners_alone(stack: LocalStack) -> None:
    secret = stack.description["s3"]["secret_key"].encode()
    holding = [path for path in _small_files(stack.folder) if secret in path.read_bytes()]
    assert holding, "the keys are kept somewhere"
    assert [path.name for path in holding if path.stat().st_mode & 0o077] == []


def _small_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*.json"):
        if path.is_file() and path.stat().st_size < 1_000_000:
            yield path
