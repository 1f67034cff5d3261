"""Jobs of the shared stack, and the small clips they work on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect import get_client

from sandbox.media.sample import Sample, describe, make_sample
from tests.flows.jobs import Jobs
from tests.local_stack import LocalStack


@pytest.fixture(scope="session")
def jobs(stack: LocalStack) -> Iterator[Jobs]:
    """Jobs of the shared stack."""
    with get_client(sync_client=True) as client:
        yield Jobs(stack, client)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A clip whose picture and sound can be measured against the truth."""
    return make_sample(tmp_path_factory.mktemp("sample"), width=320, height=180, seconds=4.0)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The smallest clip, for jobs of which only the end matters."""
    return make_sample(tmp_path_factory.mktemp("tiny"), width=160, height=90, seconds=2.0)


@pytest.fixture(scope="session")
def tiny_parameters(tiny: Sample) -> dict[str, object]:
    """Parameters of a lip-sync of the smallest clip."""
    described = describe(tiny)
    return {"video": described["video"], "segments": described["segments"]}
