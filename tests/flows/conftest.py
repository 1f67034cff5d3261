"""The jobs of the shared stack that lead their lives in the background."""

from __future__ import annotations

import pytest

from sandbox.media.sample.make_sample import Sample
from tests.support.background_jobs import BackgroundJobs, Resources


@pytest.fixture(scope="session")
def resources(background_jobs: BackgroundJobs) -> Resources:
    """The input files of jobs."""
    return background_jobs.resources


@pytest.fixture(scope="session")
def sample(resources: Resources) -> Sample:
    """A clip whose picture and sound can be measured against the truth."""
    return resources.sample
