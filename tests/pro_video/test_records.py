"""Records in the bucket are read by every later version: jobs go on from them for weeks.

``stored_records`` holds the records of two jobs as a version before the moves of modules has
stored them; only the signed links in the results of the flow runs are replaced.
"""

from __future__ import annotations

import base64
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore
from prefect.serializers import CompressedJSONSerializer
from pydantic import BaseModel

from pro_video import records
from pro_video.core.errors import JobFailed
from tasks.reuse import Reused

STORED = Path(__file__).parent / "stored_records"
KINDS: dict[str, type[BaseModel]] = {
    "uploaded": records.UploadedFiles,
    "probed": records.ProbedFiles,
    "inpainting-probed": records.ProbedFiles,
    "reused": Reused,
    "failed-lip-sync-1-ended": records.Outcome,
}
for step in ("lip-sync", "inpainting"):
    KINDS |= {
        f"{step}-1-prepared": records.Prepared,
        f"{step}-1-submitted": records.Submission,
        f"{step}-1-ended": records.Outcome,
        f"{step}-1-stored": records.StoredResult,
        f"{step}-1-verified": records.Verified,
    }
# Fields that a later version needs no more, and those that it added.
GONE = {"audio_of_segment"}
ADDED: dict[type[BaseModel], dict[str, object]] = {records.JobResult: {"estimate": None}}


def still_read(stored: Any) -> Any:
    """The part of a stored record that a later version reads."""
    if isinstance(stored, list):
        return [still_read(value) for value in stored]
    if isinstance(stored, dict):
        return {name: still_read(value) for name, value in stored.items() if name not in GONE}
    return stored


def assert_read(read: Any, kind: type[BaseModel], stored: object) -> None:
    assert type(read) is kind
    assert read.model_dump(mode="json") == ADDED.get(kind, {}) | still_read(stored)


@pytest.mark.parametrize("name", KINDS)
async def test_a_stored_record_of_a_task_is_read(name: str) -> None:
    store = ResultStore(result_storage=LocalFileSystem(basepath=str(STORED)))
    record = await store.aread(f"{name}.json")
    stored = json.loads(json.loads((STORED / f"{name}.json").read_text())["result"])
    assert_read(record.result, KINDS[name], stored["data"])


@pytest.mark.parametrize("name", ["job-completed", "job-completed-subflow", "job-failed"])
def test_a_stored_result_of_a_flow_run_is_read(name: str) -> None:
    content = (STORED / f"{name}.b64").read_bytes()
    read = CompressedJSONSerializer().loads(content)
    stored = json.loads(lzma.decompress(base64.decodebytes(content)))
    assert_read(read, records.JobResult, stored["data"])


async def test_a_stored_failure_is_the_error_that_it_was() -> None:
    store = ResultStore(result_storage=LocalFileSystem(basepath=str(STORED)))
    failure = (await store.aread("failed-lip-sync-1-ended.json")).result.failure
    assert type(failure.error()) is JobFailed
    assert failure.code == "generation_input_video_invalid"


def test_every_stored_record_is_read_by_a_test() -> None:
    assert {path.stem for path in STORED.glob("*.json")} == set(KINDS)
