import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest

from sandbox.common.store import Store


def test_documents_keep_their_order_and_are_replaced_in_place(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite3") as store:
        for name in "abc":
            store.put("letter", name, {"name": name})
        store.put("letter", "a", {"name": "A"})
        store.put("digit", "a", {"name": "1"})
        assert [d["name"] for d in store.all("letter")] == ["A", "b", "c"]
        assert [d["name"] for d in store.all("letter", newest_first=True)] == ["c", "b", "A"]
        assert store.delete("letter", "b")
        assert not store.delete("letter", "b")
        assert store.get("letter", "b") is None


def test_documents_between_two_ids_come_in_the_order_of_utf_8(tmp_path: Path) -> None:
    names = ["a", "a/1", "a/\N{EN DASH}", "a/\N{GRINNING FACE}", "a0", "b\0", "b\0c"]
    with Store(tmp_path / "s.sqlite3") as store:
        for name in reversed(names):
            store.put("key", name, {"name": name})
        store.put("other", "a/2", {})

        def between(start: bytes, end: bytes, limit: int = 10) -> list[str]:
            return [name for name, _ in store.between("key", start, end, limit)]

        assert between(b"", b"\xff") == names
        assert between(b"a/", b"a/\xff") == names[1:4]
        assert between(b"a/1\0", b"\xff", 2) == names[2:4]
        assert between(b"b\0\0", b"\xff") == names[-1:]


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite3") as store:

        def write_and_fail() -> None:
            with store.transaction():
                store.put("k", "1", {})
                with store.transaction():
                    store.counter("n")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            write_and_fail()
        assert store.all("k") == []
        assert store.counter("n", by=0) == 0


def test_only_one_of_many_threads_claims(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite3") as store:
        claims: list[int] = []
        start = threading.Barrier(8)

        def claim(number: int) -> None:
            start.wait()
            with store.transaction():
                if store.get("claim", "x") is None:
                    store.put("claim", "x", {"by": number})
                    claims.append(number)
            store.counter("tries")

        threads = [threading.Thread(target=claim, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(claims) == 1
        assert store.counter("tries", by=0) == 8


def write_and_die(path: str) -> None:
    store = Store(path)
    store.put("job", "1", {"status": "PENDING"})
    store.counter("accepted")
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_was_put_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    process = multiprocessing.get_context("spawn").Process(target=write_and_die, args=(str(path),))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    with Store(path) as store:
        assert store.get("job", "1") == {"status": "PENDING"}
        assert store.counter("accepted", by=0) == 1
