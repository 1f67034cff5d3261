"""The stack as on several machines: two Prefect servers, Redis, services, two workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.cluster.stack import ClusterStack
from deployments.local.stack import open_stack
from sandbox.media.sample.make_sample import describe, make_sample
from tests.cluster import judge, killed, restored, running_cluster


@pytest.mark.timeout(1500)
def test_jobs_survive_kills_of_each_kind_and_a_restored_database(tmp_path: Path) -> None:
    if problems := open_stack(tmp_path / "cluster", 4200, ClusterStack).problems():
        pytest.skip(" ".join(problems))
    tiny = describe(make_sample(tmp_path / "sample", width=160, height=90, seconds=2.0))
    parameters = {"video": tiny["video"], "segments": tiny["segments"]}
    with running_cluster(tmp_path) as jobs:
        ids = killed(jobs, parameters, 6)
        assert judge(jobs, ids + restored(jobs, parameters, 2)) == []
