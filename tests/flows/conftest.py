"""The jobs of the shared stack that lead their lives in the background."""

from __future__ import annotations

import pytest

from sandbox.media.sample.make_sample import Sample
from tests.support.background_jobs import Setting, Stories


@pytest.fixture(scope="session")
def setting(stories: Stories) -> Setting:
    """The input files of jobs."""
    return stories.setting


@pytest.fixture(scope="session")
def sample(setting: Setting) -> Sample:
    """A clip whose picture and sound can be measured against the truth."""
    return setting.sample
