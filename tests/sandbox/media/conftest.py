"""Samples that are made once; tests only read them."""

from __future__ import annotations

import pytest

from sandbox.media.sample.make_sample import Sample, make_sample


@pytest.fixture(scope="session")
def panning(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("pan"), width=384, height=216, seconds=4.0)


@pytest.fixture(scope="session")
def static(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    folder = tmp_path_factory.mktemp("static")
    return make_sample(folder, width=384, height=216, seconds=4.0, pan=False)
