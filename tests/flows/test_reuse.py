"""Other areas on the same lip-sync: only the text removal is bought, and only within one owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from pro_video.records import JobResult
from tests.flows.test_editor_jobs import area
from tests.support.background_jobs import BackgroundJobs, Resources, background_job
from tests.support.jobs import Jobs

pytestmark = pytest.mark.timeout(1000)

# A kind of lip-sync that no other test on this stack asks for.
OWN = {"temperature": 0.77}
OWNER = "owner:first"
BOTH_BOUGHT = {"sync_so": (1, 1), "ghostcut": (1, 1)}
TEXT_BOUGHT = {"sync_so": (0, 0), "ghostcut": (1, 1)}


@dataclass
class World:
    """Finished jobs by name."""

    jobs: Jobs
    ids: dict[str, str]

    def paid(self, name: str) -> dict[str, tuple[int, int]]:
        return self.jobs.paid(self.ids[name])

    def result(self, name: str) -> JobResult:
        return self.jobs.result(self.ids[name])


@background_job
def jobs_of_one_lip_sync(resources: Resources) -> World:
    """One job, and after its end those that ask for something like it."""
    jobs, tiny, tiny_parameters = resources.jobs, resources.tiny, resources.tiny_parameters

    def of(region: Any, **more: Any) -> dict[str, Any]:
        return {
            **tiny_parameters,
            **OWN,
            "annotation_areas": [area("erase", region, 0.0, None)],
            **more,
        }

    mark, guarded = tiny.watermark_region, tiny.protected_region
    first = jobs.prepare(of(mark), tags=[OWNER])
    jobs.release(first)
    jobs.finish([first])
    # Before the rest: one of them repeats it, and the last job of a kind is the one taken from.
    other_area = jobs.prepare(of(guarded), tags=[OWNER])
    jobs.release(other_area)
    jobs.finish([other_area])
    later = {
        "other owner": jobs.prepare(of(guarded), tags=["owner:second"]),
        "no owner": jobs.prepare(of(guarded)),
        "switched off": jobs.prepare(of(guarded, reuse_lip_sync=False), tags=[OWNER]),
        "other kind": jobs.prepare(of(guarded, temperature=0.78), tags=[OWNER]),
    }
    jobs.finish([], prepared=list(later.values()))
    return World(jobs, {"first": first, "other area": other_area, **later})


@pytest.fixture(scope="module")
def world(background_jobs: BackgroundJobs) -> World:
    """The jobs."""
    return background_jobs.result(jobs_of_one_lip_sync)


def test_other_areas_cost_only_the_text_removal(world: World) -> None:
    assert world.paid("first") == BOTH_BOUGHT
    assert world.paid("other area") == TEXT_BOUGHT


def test_the_result_names_where_its_lip_sync_came_from(world: World) -> None:
    taken = world.result("other area")
    assert taken.status == "completed"
    assert taken.stages["lip-sync"].reused_from == world.ids["first"]
    assert taken.stages["lip-sync"].cost_usd is None
    first = world.result("first")
    assert first.stages["lip-sync"].reused_from is None
    assert first.stages["lip-sync"].stored.size == taken.stages["lip-sync"].stored.size
    assert taken.estimated_cost_usd is not None
    assert first.estimated_cost_usd is not None
    assert taken.estimated_cost_usd < first.estimated_cost_usd


def test_the_taken_over_result_is_the_jobs_own_copy(world: World) -> None:
    key = world.result("other area").stages["lip-sync"].stored.key
    assert world.ids["other area"] in key
    original = world.result("first").stages["lip-sync"].stored.key
    assert world.jobs.object(key) == world.jobs.object(original)


@pytest.mark.parametrize("name", ["other owner", "no owner", "switched off", "other kind"])
def test_what_is_not_the_same_is_bought(world: World, name: str) -> None:
    assert world.paid(name) == BOTH_BOUGHT
    assert world.result(name).stages["lip-sync"].reused_from is None
