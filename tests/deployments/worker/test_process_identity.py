"""The identity of processes: their end is proven, or nothing is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from deployments.worker.process_identity import ProcessIdentity, boot_id, token_in
from tests.support.workers.holder import BOOT, holder


def test_the_end_of_a_process_is_proven_where_its_lock_is_seen_and_nowhere_else(
    tmp_path: Path,
) -> None:
    """Between processes, so also between pid namespaces: nothing asks for a process id."""
    shared, copied = tmp_path / "shared", tmp_path / "copied"
    here = ProcessIdentity(shared, BOOT)
    twin = ProcessIdentity(shared, BOOT)
    others = [ProcessIdentity(tmp_path / "own", BOOT), ProcessIdentity(shared, "next boot")]
    with holder(shared) as place:
        token = place.rpartition(":")[2]
        assert not here.is_dead(token)
        shutil.copytree(shared, copied)
    assert here.is_dead(token)
    assert twin.is_dead(token)
    assert not any(each.is_dead(token) for each in others)
    # A copy of the folder has no locks, whether the process lives or not.
    assert not ProcessIdentity(copied, BOOT).is_dead(token)
    # Same host and process id, as in two containers.
    assert twin.place.rpartition(":")[0] == here.place.rpartition(":")[0]
    assert not here.is_dead(twin.token)
    assert not here.is_dead(here.token)


@pytest.mark.parametrize("boot", ["", BOOT])
def test_a_process_without_a_lock_is_never_dead(
    tmp_path: Path, boot: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "file"
    if boot:
        folder.touch()
    without = ProcessIdentity(folder, boot)
    assert "after heartbeats only" in caplog.text
    assert not without.is_dead(without.token)


def test_old_files_are_removed_unless_their_process_lives(tmp_path: Path) -> None:
    alive = ProcessIdentity(tmp_path, BOOT)
    with holder(tmp_path) as place:
        pass
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    ProcessIdentity(tmp_path, BOOT)
    names = {path.name for path in tmp_path.iterdir()}
    assert f"{BOOT}.{alive.token}" in names
    assert f"{BOOT}.{place.rpartition(':')[2]}" not in names


def test_a_boot_has_one_id() -> None:
    assert boot_id() == boot_id() != ""


def test_a_token_is_read_from_where_it_is_written(tmp_path: Path) -> None:
    here = ProcessIdentity(tmp_path, BOOT)
    run = "5f3c1a52-6d0e-4f57-9d0b-2a1f0c9be001"
    assert token_in(f"{here.place}:{run}") == here.token
    assert token_in(f"Taken by worker process {here.place}") == here.token
    # As the version before wrote it, also in a container that is named after its id.
    for other in (None, "", f"host:12:{run}", f"{'a' * 64}:12:{run}"):
        assert token_in(other) is None
