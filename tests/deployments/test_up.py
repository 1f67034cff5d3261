"""``make up``: its refusals, and that neither an interrupt nor a kill loses a process or data."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError
from prefect import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.local.initialize import NotReady, Startup
from deployments.local.stack import open_stack
from sandbox.media.sample.make_sample import describe, make_sample
from tests.support.jobs import Jobs
from tests.support.stack import LocalStack, own_port_base, wait_until

pytestmark = pytest.mark.timeout(1500)


def refused(stack: LocalStack, **environment: str) -> str:
    """The command's message when it refuses to start."""
    stack.launch(**environment)
    assert stack.process.wait(60) == 2
    assert stack.members() == []
    assert not (stack.folder / "stack.json").exists()
    return stack.tail()


@pytest.mark.parametrize("value", ["80", "65535", "-1", "4200.5", "many"])
def test_a_port_base_that_is_none_is_named(tmp_path: Path, value: str) -> None:
    said = refused(LocalStack(tmp_path / "stack"), PRO_VIDEO_PORT_BASE=value)
    assert "PRO_VIDEO_PORT_BASE must be a port" in said
    assert repr(value) in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("offset", "service"), [(0, "Prefect"), (2, "Sync.so"), (4, "Gateway")])
def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path, offset: int, service: str) -> None:
    base = own_port_base(tmp_path / "stack")
    with socket.create_server(("127.0.0.1", base + offset)):
        said = refused(LocalStack(tmp_path / "stack", port_base=base))
    assert f"{base + offset} ({service})" in said
    assert "set PRO_VIDEO_PORT_BASE to the first of other ports" in said
    assert "Traceback" not in said


async def test_a_process_that_ends_again_and_again_is_not_waited_for(tmp_path: Path) -> None:
    stack = open_stack(tmp_path / "stack", own_port_base(tmp_path))
    log = stack.logs / "supervisord.log"
    log.write_text("INFO exited: prefect (exit status 1; not expected)\n" * 20)
    startup = Startup(stack)
    with log.open("a") as more:
        more.write("INFO exited: postgres (exit status 1; not expected)\n" * 10)

    async def never() -> bool:
        return False

    with pytest.raises(NotReady, match="PostgreSQL") as caught:
        await startup.until({"Prefect": ("prefect", never), "PostgreSQL": ("postgres", never)})
    assert caught.value.process == "postgres"


def test_only_the_owner_reads_what_a_stack_keeps(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    # As an earlier version made it.
    (folder / "data").mkdir(parents=True, mode=0o755)
    (folder / "data" / "s3").mkdir()
    stack = open_stack(folder, own_port_base(folder))
    assert "prefect" in stack.commands()
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {"data": 0o700, "prefect": 0o700, "logs": 0o700, "keys.json": 0o600}


def test_a_bad_choice_of_a_database_is_refused(tmp_path: Path) -> None:
    said = refused(LocalStack(tmp_path / "stack"), PRO_VIDEO_DATABASE="mysql")
    assert "PRO_VIDEO_DATABASE must be postgres, sqlite, or" in said
    assert "Traceback" not in said


def test_the_demo_says_at_once_that_a_port_is_taken(tmp_path: Path) -> None:
    base = own_port_base(tmp_path / "stack")
    command = [sys.executable, "-m", "deployments.local.demo", "--folder", str(tmp_path / "demo")]
    with socket.create_server(("127.0.0.1", base + 1)):
        done = subprocess.run(
            [*command, "--out", str(tmp_path / "out")],
            env={**os.environ, "PRO_VIDEO_PORT_BASE": str(base), "COLUMNS": "400"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 1
    assert f"{base + 1} (S3)" in done.stdout
    assert "set PRO_VIDEO_PORT_BASE to the first of other ports" in done.stdout
    # Before anything was made or started.
    assert "Starting" not in done.stdout
    assert not (tmp_path / "demo" / "sample").exists()


def test_a_stack_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path / "stack")
    starter = (
        "import sys, time; from pathlib import Path; "
        "from deployments.local.stack_process import StackProcess; "
        "StackProcess(Path(sys.argv[1]), int(sys.argv[2])).launch(); time.sleep(3600)"
    )
    command = [sys.executable, "-c", starter, str(stack.folder), str(stack.port_base)]
    process = subprocess.Popen(command, env=stack.environment())
    try:
        ports = open_stack(stack.folder, stack.port_base)
        wait_until(lambda: bool(ports.taken_ports()), 240, "a server of the stack listens")
        process.kill()
        wait_until(lambda: not (stack.members() or ports.taken_ports()), 60, "all have ended")
    finally:
        process.kill()
        process.wait()


def test_neither_an_interrupt_nor_a_kill_loses_anything(tmp_path: Path) -> None:
    """An interrupt in the middle of the first start, which is the harder case, and a SIGKILL of
    everything while a job waits for its provider."""
    stack = LocalStack(tmp_path / "stack")
    stack.description = open_stack(stack.folder, stack.port_base).describe()
    s3 = stack.s3()

    def answers() -> bool:
        try:
            s3.list_buckets()
        except BotoCoreError:
            return False
        return True

    stack.launch()
    try:
        wait_until(answers, 240, "S3 answers")
        s3.create_bucket(Bucket="kept")
        s3.put_object(Bucket="kept", Key="note.txt", Body=b"still here")
        members = stack.members()
    finally:
        # The signal of Ctrl-C.
        status = stack.stop(signal.SIGINT)
    assert status == 0, stack.tail()
    assert len(members) >= 5 or not Path("/proc").exists()
    assert not (stack.folder / "stack.json").exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", stack.port_base)) != 0

    sample = describe(make_sample(tmp_path / "tiny", width=160, height=90, seconds=2.0))
    parameters = {name: sample[name] for name in ("video", "segments")}
    with connected(stack) as jobs:
        job_id = jobs.prepare(parameters)
        slow = {"call": "job", "kind": "slow", "seconds": 15}
        jobs.plan_faults("sync_so", {**slow, "match": {"reference": f"pv-{job_id}-lip-sync-1"}})
        jobs.release(job_id)
        generation = jobs.until_accepted("sync_so", job_id, 240)["id"]
        jobs.until_state(job_id, "Lip-sync processing")
        stack.kill()
    with connected(stack) as jobs:
        jobs.finish([job_id])
        assert jobs.state(job_id).name == "Completed"
        assert [entry["id"] for entry in jobs.audit("sync_so", job_id)] == [generation]
        assert s3.get_object(Bucket="kept", Key="note.txt")["Body"].read() == b"still here"
        said = stack.log.read_text(encoding="utf-8")
        status = stack.stop(signal.SIGINT)
    s3.close()
    assert status == 0, stack.tail()
    for word in ("error", "fail", "refused", "warning", "traceback", "fatal"):
        assert word not in said.lower(), said
    last = said.partition("Pro Video is ready.")[2]
    assert f"Prefect UI   {stack.api_url.removesuffix('/api')}" in last


@contextmanager
def connected(stack: LocalStack) -> Iterator[Jobs]:
    """Start a stack; its jobs. The block stops it; a failure in the block does, too."""
    stack.start()
    try:
        with (
            temporary_settings({PREFECT_API_URL: stack.api_url}),
            get_client(sync_client=True) as client,
        ):
            yield Jobs(stack, client)
    except BaseException:
        stack.kill()
        raise
