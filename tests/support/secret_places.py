"""All places where a job leaves text, as pairs of the place and the text."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.support.stack import LocalStack

Place = tuple[str, str]

_PAGE = 200
_MEDIA = (".mp4", ".wav", ".jpg")


class Prefect:
    """The content of Prefect's API about some jobs and their deployments."""

    def __init__(self, client: httpx.Client, job_ids: Iterable[str]) -> None:
        self._client = client
        self._run_ids = list(job_ids)
        children = self._all("/flow_runs/filter", flow_runs=self._parents())
        self.runs = [*self._all("/flow_runs/filter", flow_runs=self._own()), *children]
        self.run_ids = [run["id"] for run in self.runs]

    def _own(self) -> dict[str, Any]:
        return {"id": {"any_": self._run_ids}}

    def _parents(self) -> dict[str, Any]:
        return {"parent_flow_run_id": {"any_": self._run_ids}}

    def _all(self, path: str, **filters: Any) -> list[dict[str, Any]]:
        """All rows of a filter, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            body = {**filters, "limit": _PAGE, "offset": len(found)}
            page = self._read("POST", path, json=body)
            found += page
            if len(page) < _PAGE:
                return found

    def _read(self, method: str, path: str, **more: Any) -> Any:
        answer = self._client.request(method, path, **more)
        answer.raise_for_status()
        return answer.json()

    def runs_and_states(self) -> Iterator[Place]:
        """Flow runs with their parameters, task runs, and every state that either was in."""
        by_run = {"flow_run_id": {"any_": self.run_ids}}
        tasks = self._all("/task_runs/filter", task_runs=by_run)
        assert tasks
        for kind, rows in (("flow", self.runs), ("task", tasks)):
            for row in rows:
                states = self._read(
                    "GET", f"/{kind}_run_states/", params={f"{kind}_run_id": row["id"]}
                )
                yield f"{kind} run {row['name']}", json.dumps(row)
                yield f"states of {kind} run {row['name']}", json.dumps(states)

    def logs(self) -> Iterator[Place]:
        lines = self._all("/logs/filter", logs={"flow_run_id": {"any_": self.run_ids}})
        assert lines
        for line in lines:
            yield f"log of {line['flow_run_id']}", json.dumps(line)

    def artifacts(self) -> Iterator[Place]:
        found = self._all("/artifacts/filter", artifacts={"flow_run_id": {"any_": self.run_ids}})
        assert found
        for artifact in found:
            yield f"artifact {artifact['key']}", json.dumps(artifact)

    def events(self, since: datetime) -> Iterator[Place]:
        """All events of the server since a time."""
        window = {
            "since": since.isoformat(),
            "until": (datetime.now(UTC) + timedelta(minutes=1)).isoformat(),
        }
        body = {"filter": {"occurred": window, "order": "ASC"}, "limit": 50}
        page = self._read("POST", "/events/filter", json=body)
        while True:
            for event in page["events"]:
                yield f"event {event['event']}", json.dumps(event)
            if not page.get("next_page"):
                return
            page = self._read("GET", page["next_page"].partition("/api")[2])

    def set_up(self) -> Iterator[Place]:
        """Work pools, deployments, automations, and blocks as the API shows them to anyone."""
        for what in ("work_pools", "deployments", "automations", "block_documents", "flows"):
            for row in self._all(f"/{what}/filter"):
                yield f"{what} {row.get('name')}", json.dumps(row)


def output(stack: LocalStack) -> Iterator[Place]:
    """The output of the stack's processes and their supervisor."""
    for path in (stack.log, *sorted((stack.folder / "logs").glob("*"))):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            yield f"output {path.name}", line


def objects(stack: LocalStack, job_ids: Iterable[str]) -> Iterator[Place]:
    """The jobs' objects that are no media, and their records without the requests' bodies, which
    hold signed links because the providers need them."""
    s3 = stack.s3()
    for job_id in job_ids:
        for prefix in (f"jobs/{job_id}/", f"results/{job_id}/"):
            listed = s3.list_objects_v2(Bucket=stack.bucket, Prefix=prefix)
            assert not listed["IsTruncated"]
            keys = [entry["Key"] for entry in listed.get("Contents", [])]
            for key in keys:
                if not key.endswith((*_MEDIA, "-request")):
                    answer = s3.get_object(Bucket=stack.bucket, Key=key)
                    yield f"object {key}", readable(answer["Body"].read())
                    yield f"metadata of {key}", json.dumps(answer["Metadata"])


def readable(data: bytes) -> str:
    """A record's text; a compressed result of Prefect's is unpacked behind it."""
    text = data.decode("utf-8", "replace")
    try:
        packed = json.loads(text)["result"]
        return text + zlib.decompress(base64.b64decode(packed)).decode("utf-8", "replace")
    except (ValueError, KeyError, TypeError, zlib.error):
        return text
