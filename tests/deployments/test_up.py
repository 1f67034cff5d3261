"""``make up``: what it refuses, and that neither process nor data is lost track of."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError

from deployments.local.stack import open_stack
from tests.local_stack import LocalStack, own_port_base, wait_until

pytestmark = pytest.mark.timeout(400)


def refused(stack: LocalStack, **environment: str) -> str:
    """What the command says when it refuses to start."""
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
    assert "make up PRO_VIDEO_PORT_BASE=" in said
    assert "Traceback" not in said


def test_only_the_owner_reads_what_a_stack_keeps(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    # As an earlier version made it.
    (folder / "data").mkdir(parents=True, mode=0o755)
    (folder / "data" / "s3").mkdir()
    stack = open_stack(folder, own_port_base(folder))
    assert "prefect" in stack.commands()
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {"data": 0o700, "prefect": 0o700, "logs": 0o700, "keys.json": 0o600}


def test_an_interrupt_leaves_no_process_and_the_data_stays(tmp_path: Path) -> None:
    """In the middle of a start, which is the harder case; the stack that tests share is interrupted
    when it is ready."""
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
        wait_until(answers, 90, "S3 answers")
        s3.create_bucket(Bucket="kept")
        s3.put_object(Bucket="kept", Key="note.txt", Body=b"still here")
        members = stack.members()
    finally:
        # What Ctrl-C sends.
        status = stack.stop(signal.SIGINT)
    assert status == 0, stack.tail()
    assert len(members) >= 5 or not Path("/proc").exists()
    assert not (stack.folder / "stack.json").exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", stack.port_base)) != 0

    stack.launch()
    try:
        wait_until(answers, 90, "S3 answers again")
        found = s3.get_object(Bucket="kept", Key="note.txt")["Body"].read()
    finally:
        stack.stop()
        s3.close()
    assert found == b"still here"
