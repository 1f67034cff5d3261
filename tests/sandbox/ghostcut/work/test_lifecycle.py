"""States on the way, every way to fail, re-runs, and survival of a restart and of a kill."""

from pathlib import Path

import httpx
import pytest

from sandbox.common.server import start_app
from sandbox.ghostcut import create_app
from sandbox.ghostcut.rules.statuses import PROCESS_STATUS
from tests.sandbox.control import emulator_to_kill, wait_until
from tests.sandbox.ghostcut.vendor import Vendor, mask, masks


def test_states_and_progress_rise(vendor: Vendor) -> None:
    vendor.settings(seconds_per_job=1.0, show_draft=True, empty_video_url=True)
    work = vendor.submit()
    seen = [vendor.row(work)]

    def ended() -> bool:
        seen.append(vendor.row(work))
        return bool(seen[-1]["processStatus"] > 0)

    wait_until(ended)
    statuses = list(dict.fromkeys(row["processStatus"] for row in seen))
    progress = [row["processProgress"] for row in seen]
    order = [-1, -2, 0, -3, 1]
    assert statuses == [status for status in order if status in statuses]
    assert {-1, 0, 1} <= set(statuses) | {-1}
    assert progress == sorted(progress)
    assert all(isinstance(value, float) for value in progress)
    assert len(set(progress)) > 4
    assert all(row["processProgress"] < 100 for row in seen[:-1])
    assert all(row["videoUrl"] == "" for row in seen[:-1])
    assert all(row["paidPoint"] == 0.0 for row in seen[:-1])
    taken = seen[-1]["lastUpdateTime"] - seen[-1]["createTime"]
    assert taken >= 1000


def test_the_real_duration_is_scaled(vendor: Vendor) -> None:
    # 120 s and 4 s for each second of the clip.
    vendor.settings(seconds_per_job=None, time_scale=0.005)
    row = vendor.ended(vendor.submit())
    assert row["lastUpdateTime"] - row["createTime"] >= 630


def test_a_held_work_ends_when_it_is_let_go(vendor: Vendor) -> None:
    vendor.settings(hold=True)
    work = vendor.submit()
    wait_until(lambda: vendor.row(work)["processStatus"] == 0)
    vendor.settings(hold=False)
    assert vendor.ended(work)["processStatus"] == 1


def test_every_failure_can_be_asked_for(vendor: Vendor) -> None:
    # 83, a locked result, has its own tests. 777 is not listed.
    statuses = sorted({status for status in PROCESS_STATUS if status > 1} - {83} | {777})
    vendor.faults(
        *(
            {"call": "job", "kind": "failed", "status": status, "detail": f"because {status}"}
            for status in statuses
        )
    )
    works = {status: vendor.submit() for status in statuses}
    for status, work in works.items():
        row = vendor.ended(work)
        assert row["processStatus"] == row["processStatusEnum"]["code"] == status
        assert row["processStatusEnum"]["description"]
        assert (row["errorDetail"], row["processProgress"]) == (f"because {status}", 100.0)
        assert (row["paidPoint"], "videoUrl" in row) == (0.0, False)
    assert {job["billed"] for job in vendor.jobs()} == {0}
    assert vendor.balance() == 100


def test_faults_reach_the_work_that_they_name(vendor: Vendor) -> None:
    vendor.faults(
        {"call": "job", "kind": "failed", "status": 20, "match": {"reference": "bad"}},
        {"call": "job", "kind": "empty_result", "match": {"reference": "empty"}},
        {"call": "job", "kind": "stuck", "at": -1, "match": {"reference": "stuck"}},
        {"call": "job", "kind": "unknown_status", "status": -9, "match": {"reference": "odd"}},
        {"call": "job", "kind": "slow", "seconds": 3600, "match": {"reference": "slow"}},
    )
    names = ["good", "bad", "empty", "stuck", "slow"]
    works = {name: vendor.submit(names=[name]) for name in names}
    assert vendor.ended(works["good"])["processStatus"] == 1
    assert vendor.ended(works["bad"])["processStatus"] == 20
    empty = vendor.ended(works["empty"])
    assert (empty["processStatus"], empty["videoUrl"], empty["paidPoint"]) == (1, "", 1.0)
    assert vendor.row(works["stuck"])["processStatus"] == -1
    assert vendor.row(works["slow"])["processStatus"] == -1
    vendor.settings(seconds_per_job=1.0)
    odd = vendor.submit(names=["odd"])
    assert vendor.row(odd)["processStatus"] == -9
    assert vendor.ended(odd)["processStatus"] == 1


def test_stuck_in_processing(vendor: Vendor) -> None:
    vendor.faults({"call": "job", "kind": "stuck"})
    work = vendor.submit()
    row = wait_until(lambda: (row := vendor.row(work))["processStatus"] == 0 and row)
    assert 0 < row["processProgress"] < 100
    assert vendor.body("/work/video/redo", {"id": work}) is False


SOURCES = [
    ("http://no-such-host.invalid/a.mp4", 2),
    ("ftp://127.0.0.1/a.mp4", 2),
    ("not an address", 2),
    ("http://[::1/a.mp4", 2),
    ("http://a\0b/a.mp4", 2),
    (f"http://{'a' * 80}.invalid/a.mp4", 2),
    ("http://127.0.0.1:99999/a.mp4", 2),
    ("{base}/视频.mp4", 2),
    ("{base}/missing.mp4", 3),
    ("http://127.0.0.1:9/a.mp4", 3),
    ("{base}/text.mp4", 3),
    ("{base}/sound.mp4", 3),
    ("{base}/cut.mp4", 16),
]


def test_bad_sources(vendor: Vendor, sources: Path, source_url: str) -> None:
    (sources / "text.mp4").write_bytes(b"no video at all" * 100)
    (sources / "sound.mp4").write_bytes(b"RIFF$\0\0\0WAVEfmt " + b"\0" * 64)
    whole = (sources / "fast.mp4").read_bytes()
    (sources / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    works = {url: vendor.submit(urls=[url.format(base=source_url)]) for url, _ in SOURCES}
    ended = {url: vendor.ended(work)["processStatus"] for url, work in works.items()}
    assert ended == dict(SOURCES)
    assert vendor.balance() == 100


def test_limits_of_the_source(vendor: Vendor, sources: Path) -> None:
    vendor.settings(max_seconds=1.4)
    assert vendor.ended(vendor.submit())["processStatus"] == 5
    vendor.settings(too_long_status=99)
    assert vendor.ended(vendor.submit())["processStatus"] == 99
    size = (sources / "clip.mp4").stat().st_size
    for limit, status in ((size + 1, 1), (size, 100), (size // 4, 3)):
        vendor.settings(max_seconds=900, max_bytes=limit)
        assert vendor.ended(vendor.submit())["processStatus"] == status


def test_private_addresses_can_be_refused(vendor: Vendor) -> None:
    vendor.settings(allow_private=False)
    row = vendor.ended(vendor.submit())
    assert (row["processStatus"], row["errorDetail"]) == (2, "the host is not public")


def test_range_beyond_the_clip(vendor: Vendor) -> None:
    row = vendor.ended(vendor.submit(extraOptions='{"range":[30,40]}'))
    assert row["processStatus"] == 26


def test_redo_runs_a_failed_work_again(vendor: Vendor) -> None:
    vendor.faults({"call": "job", "kind": "failed", "status": 18})
    work = vendor.submit()
    assert vendor.ended(work)["processStatus"] == 18
    assert vendor.body("/work/video/redo", {"id": str(work)}) is True
    row = vendor.ended(work)
    assert (row["processStatus"], row["errorDetail"], row["paidPoint"]) == (1, "", 1.0)
    assert vendor.body("/work/video/redo", {"id": work}) is False
    assert vendor.call("/work/video/redo", {"id": 123})["code"] == 3003
    assert vendor.call("/work/video/redo", {})["code"] == 4001


def test_adjustments(vendor: Vendor, plain: httpx.Client) -> None:
    work = vendor.submit()
    links = [vendor.ended(work)["videoUrl"]]
    assert vendor.balance() == 99
    for balance in (99, 99, 99, 98):
        new = {"id": work, "videoInpaintMasks": masks(mask("keep"), mask())}
        assert vendor.body("/work/video/inpaint/redo", new) is True
        links.append(vendor.ended(work)["videoUrl"])
        assert vendor.balance() == balance
    assert len(set(links)) == 5
    assert plain.get(links[-1]).status_code == 200
    assert vendor.row(work)["paidPoint"] == 2.0
    assert [job["billed"] for job in vendor.jobs()] == [2]
    native = {"id": work, "videoInpaintMasks": [mask()]}
    assert vendor.call("/work/video/inpaint/redo", native)["code"] == 4001


def test_adjusting_an_unpaid_work_is_not_free(vendor: Vendor) -> None:
    work = vendor.submit(videoInpaintMasks=None)
    assert vendor.ended(work)["processStatus"] == 26
    new = {"id": work, "videoInpaintMasks": masks(mask())}
    assert vendor.body("/work/video/inpaint/redo", new) is True
    assert vendor.ended(work)["paidPoint"] == 1.0


def test_restart_goes_on_where_it_was(tmp_path: Path, source_url: str) -> None:
    def app() -> object:
        return create_app(data_dir=tmp_path, app_key="k", app_secret="s", points=10.0)

    source = f"{source_url}/clip.mp4"
    with start_app(app()) as server:
        vendor = Vendor(server.url, "k", "s", source)
        vendor.settings(seconds_per_job=0.5, media="copy")
        works = [vendor.submit() for _ in range(2)]
        vendor.faults({"call": "job", "kind": "stuck"})
        stuck = vendor.submit()
        vendor.http.close()
    with start_app(app()) as server:
        vendor = Vendor(server.url, "k", "s", source)
        with vendor.http:
            rows = [vendor.ended(work) for work in works]
            assert [row["processStatus"] for row in rows] == [1, 1]
            # Links follow the server to its new address.
            assert all(row["videoUrl"].startswith(server.url) for row in rows)
            assert vendor.balance() == 8
            assert vendor.row(stuck)["processStatus"] < 1
            assert vendor.submit() > stuck


def test_a_kill_loses_nothing_and_charges_nothing_twice(tmp_path: Path, source_url: str) -> None:
    source = f"{source_url}/clip.mp4"
    with emulator_to_kill("ghostcut", tmp_path, "--app-key=k", "--app-secret=s") as (_, url):
        vendor = Vendor(url, "k", "s", source)
        vendor.settings(seconds_per_job=0.0, media="copy")
        balance = vendor.balance()
        done = vendor.submit(names=["done"])
        assert vendor.ended(done)["processStatus"] == 1
        vendor.settings(seconds_per_job=1.0)
        work = vendor.submit(names=["half"])
        wait_until(lambda: vendor.row(work)["processStatus"] == 0)
        vendor.http.close()
    app = create_app(data_dir=tmp_path / "ghostcut", app_key="k", app_secret="s")
    with start_app(app) as server:
        vendor = Vendor(server.url, "k", "s", source)
        with vendor.http:
            assert vendor.ended(work)["processStatus"] == 1
            jobs = vendor.audit()["jobs"]
            assert [(job["reference"], job["billed"]) for job in jobs] == [("done", 1), ("half", 1)]
            assert vendor.balance() == balance - 2
            assert vendor.http.get("/_sandbox/settings").json()["media"] == "copy"


def unexpected(*_: object, **__: object) -> None:
    raise KeyError("unexpected")


def test_an_unexpected_error_ends_the_work(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sandbox.ghostcut.work.lifecycle.inspect_source", unexpected)
    work = vendor.submit()
    row = vendor.ended(work)
    assert (row["processStatus"], row["paidPoint"], "videoUrl" in row) == (43, 0.0, False)
    (logged,) = (record for record in caplog.records if record.exc_info)
    assert str(work) in logged.getMessage()
    assert "KeyError: 'unexpected'" in caplog.text
