"""The running gateway keeps what its OpenAPI document promises, call by call and in sequences."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.deployments.gateway.kit import Gateway

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

# No JSON Schema says that an end comes after its start, that a refId names an audio, that a source
# exists, or what is in a text field of a form: 422 is right for many requests that fit the schema.
_RULES = checks.positive_data_acceptance

_QUICK = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="session")
def api_schema(owned: Gateway) -> Any:
    """The document of the running gateway, without the providers' doorbells: only their
    signatures open those."""
    schema = schemathesis.openapi.from_url(f"{owned.url}/openapi.json")
    return schema.exclude(path_regex="^/doorbells/")


def test_each_call(api_schema: Any, tokens: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {tokens['anna']}"}
    found = []
    for result in api_schema.get_all_operations():
        operation = result.ok()

        @_QUICK
        @given(case=operation.as_strategy())
        def call(case: Any) -> None:
            case.call_and_validate(headers=headers, excluded_checks=[_RULES])

        try:
            call()
        except ExceptionGroup as error:
            found.append(f"{operation.label}: {error}")
    assert not found, "\n\n".join(found)


def test_sequences(api_schema: Any, tokens: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {tokens['anna']}"}

    class Client(api_schema.as_state_machine()):  # type: ignore[misc]
        def validate_response(self, response: Any, case: Any, **options: Any) -> None:
            case.validate_response(response, excluded_checks=[_RULES])

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": headers}

    Client.run(settings=settings(_QUICK, max_examples=5, stateful_step_count=6))
