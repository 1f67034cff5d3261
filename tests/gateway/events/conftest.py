"""The shared Prefect server, whose flow runs' states the tests set themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings


@pytest.fixture(scope="session")
def prefect_api(prefect_api_url: str) -> Iterator[str]:
    """The API of the server; the Prefect client of the tests talks to it."""
    with temporary_settings({PREFECT_API_URL: prefect_api_url}):
        yield prefect_api_url
