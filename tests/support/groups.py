"""Distribution of the tests over the processes of pytest-xdist, for ``--dist loadgroup``."""

from __future__ import annotations

from typing import Any

import pytest
from _pytest.nodeid import NodeId
from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]

ON_STACK = "stack"
"""Beginning of the groups of tests that use the shared stack."""

_GROUPS = {"background_jobs": f"{ON_STACK} with background jobs", "prefect_api_url": "Prefect"}
"""Groups of the tests that share a session's fixture, by its name; each runs in one process."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the groups first, then the tests with the longest limits, so that the others run beside
    them; and add the groups to the tests' ids, from which the main process reads them.

    The mark ``xdist_group`` adds none in pytest 9.2:
    https://github.com/pytest-dev/pytest-xdist/issues/1386
    """

    def key(item: pytest.Item) -> tuple[bool, float]:
        limit = item.get_closest_marker("timeout")
        return _group(item) not in _GROUPS.values(), -limit.args[0] if limit else 0

    items.sort(key=key)
    for item in items:
        if hasattr(config, "workerinput") and (group := _group(item)):
            item._id = NodeId.parse(f"{item.nodeid}@{group}")


def _group(item: pytest.Item) -> str | None:
    """The group of a test; None: that of its file."""
    fixtures = getattr(item, "fixturenames", ())
    group = next((group for fixture, group in _GROUPS.items() if fixture in fixtures), None)
    return group or (f"{ON_STACK} {item.path.stem}" if "stack" in fixtures else None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadGroupScheduling:
    """Give each group to one process, in the order of the collection."""
    config.option.loadscopereorder = False
    return _Scheduling(config, log)


class _Scheduling(LoadGroupScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return scope.partition("::")[0]
