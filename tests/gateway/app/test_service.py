"""Health, the OpenAPI document, request ids and logs."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable
from typing import Any

from gateway.base.logs import JsonFormatter
from gateway.jobs.request_models import JOB_EXAMPLE, JobBody
from tests.gateway.gateways import JOBS, Gateway


def test_health_tells_the_truth(gateway: Gateway, start_gateway: Callable[..., Gateway]) -> None:
    with gateway.client() as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        answer = client.get("/readyz")
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"status": "ready", "prefect": "ok", "s3": "ok"}
    with start_gateway(deployment="pro-video/unknown").client() as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["prefect"]) == (503, "no deployment")
        assert int(answer.headers["Retry-After"]) >= 1


def test_request_ids(gateway: Gateway) -> None:
    with gateway.client() as client:
        assert (
            client.get("/healthz", headers={"X-Request-Id": "a-1"}).headers["X-Request-Id"] == "a-1"
        )
        for bad in ("x" * 65, "a b", 'a"b'):
            answer = client.get(f"{JOBS}/nonsense", headers={"X-Request-Id": bad})
            assert answer.headers["X-Request-Id"] != bad
            assert answer.json()["request_id"] == answer.headers["X-Request-Id"]


def test_unknown_paths_and_methods_are_problems(gateway: Gateway) -> None:
    with gateway.client() as client:
        for answer, code in (
            (client.get("/nowhere"), "not_found"),
            (client.put(JOBS), "method_not_allowed"),
            (client.get(f"{JOBS}/nonsense"), "invalid_request"),
        ):
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == code
        # Two routes have this path.
        assert client.put(JOBS).headers["Allow"] == "GET, POST"


def test_log_lines_hold_no_secrets() -> None:
    link = "https://b.example.com/k?X-Amz-Signature=abcdef&X-Amz-Credential=me"
    try:
        raise ValueError(f"no {link}")
    except ValueError:
        record = logging.LogRecord("x", 20, "f", 1, "see %s", (link,), sys.exc_info())
    record.job_id = "job-1"
    line = JsonFormatter().format(record)
    entry = json.loads(line)
    assert entry["job_id"] == "job-1"
    assert "abcdef" not in line
    assert "\n" not in line


def test_openapi(gateway: Gateway) -> None:
    with gateway.client() as client:
        document = client.get("/openapi.json").json()
    paths: dict[str, Any] = document["paths"]
    assert {
        "/api/v1/video-editors/pro-sync-process",
        "/api/v1/video-editors/pro-job/{job_id}/status",
        "/api/v1/jobs",
        "/api/v1/jobs/{job_id}",
        "/api/v1/jobs/{job_id}/cancel",
        "/api/v1/jobs/{job_id}/retry",
        "/api/v1/jobs/{job_id}/accept",
        "/api/v1/jobs/{job_id}/events",
        "/api/v1/uploads",
        "/api/v1/uploads/{upload_id}/complete",
    } <= set(paths)
    schemas = document["components"]["schemas"]
    assert "HTTPValidationError" not in json.dumps(document)
    references = [
        part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]
    ]
    assert set(references) <= set(schemas)
    for path, operations in paths.items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["description"], path


def test_the_page_of_the_document_loads_nothing_from_elsewhere(gateway: Gateway) -> None:
    with gateway.client() as client:
        page = client.get("/docs").text
        loaded = re.findall(r'(?:src|href)="([^"]*)"', page)
        assert len(loaded) == 3
        for address in loaded:
            assert address.startswith("/"), address
            answer = client.get(address)
            assert answer.status_code == 200, address
            assert len(answer.content) > 1000
    assert "https://" not in page


def test_example_of_the_document_is_a_request() -> None:
    JobBody.model_validate(JOB_EXAMPLE)
