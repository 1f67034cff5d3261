from pathlib import Path

import pytest

from sandbox.common.faults import FaultError, FaultQueue
from sandbox.common.store import Store

KNOWN = {"create": {"slow", "drop_connection"}, "job": {"stuck"}}


def test_faults_are_used_up_in_order_and_survive_a_restart(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite3") as store:
        queue = FaultQueue(store, KNOWN)
        queue.replace(
            [
                {"call": "create", "kind": "slow", "times": 2, "seconds": 3},
                {"call": "job", "kind": "stuck"},
                {"call": "create", "kind": "drop_connection", "when": "after"},
            ]
        )
        first = queue.take("create")
        assert first is not None
        assert (first.kind, first.number("seconds", 1)) == ("slow", 3.0)
    with Store(tmp_path / "s.sqlite3") as store:
        queue = FaultQueue(store, KNOWN)
        taken = [queue.take("create") for _ in range(3)]
        assert [fault and fault.kind for fault in taken] == ["slow", "drop_connection", None]
        assert queue.take("job") is not None
        assert queue.snapshot() == []


def test_match_picks_the_calls(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite3") as store:
        queue = FaultQueue(store)
        queue.replace(
            [
                {"call": "create", "kind": "x", "match": {"reference": "job-7*"}, "times": None},
                {"call": "create", "kind": "y", "match": {"attempt": 2}},
                {"call": "any", "kind": "z", "match": {"attempt": 3}},
            ]
        )
        assert queue.take("create", reference="job-1", attempt=1) is None
        assert queue.take("create") is None
        for _ in range(3):
            fault = queue.take("create", reference="job-71", attempt=2)
            assert fault is not None
            assert fault.kind == "x"
        fault = queue.take("create", attempt=2)
        assert fault is not None
        assert fault.kind == "y"
        fault = queue.take("job", attempt=3)
        assert fault is not None
        assert fault.kind == "z"
        assert len(queue.snapshot()) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"call": "create", "kind": "explode"}, "unknown kind 'explode'"),
        ({"call": "party", "kind": "slow"}, "unknown call 'party'"),
        ({"call": "create"}, "'call' and 'kind'"),
        ({"call": "create", "kind": "slow", "times": 0}, "'times' of create/slow"),
        ({"call": "create", "kind": "slow", "times": True}, "'times'"),
        ({"call": "create", "kind": "slow", "match": [1]}, "'match'"),
        ("slow", "is an object"),
    ],
)
def test_a_bad_description_changes_nothing(tmp_path: Path, bad: object, reason: str) -> None:
    with Store(tmp_path / "s.sqlite3") as store:
        queue = FaultQueue(store, KNOWN)
        queue.replace([{"call": "job", "kind": "stuck"}])
        with pytest.raises(FaultError, match=reason):
            queue.replace([{"call": "create", "kind": "slow"}, bad])
        assert [fault["kind"] for fault in queue.snapshot()] == ["stuck"]
