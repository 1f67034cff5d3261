import math

import pytest

from sandbox.common.settings import SwitchBoard
from sandbox.common.store import Store
from sandbox.ghostcut.switches import SWITCHES
from sandbox.ghostcut.work.points import price
from tests.sandbox.ghostcut.vendor import Vendor, mask, masks

LITE = '{"extra_inpaint_config":{"model":"advanced_lite"}}'
PRO = '{"extra_inpaint_config":{"model":"advanced_full"}}'


def test_query(vendor: Vendor) -> None:
    envelope = vendor.call("/point/query", {"notZero": True, "isValid": True})
    (asset,) = envelope["body"]["pointAssets"]
    assert envelope["count"] == 1
    documented = {"id", "company", "uid", "ctime", "lutime", "pointAmount", "pointBalance"}
    assert documented | {"expireTime", "orderNo", "remark"} == set(asset)
    assert (asset["pointAmount"], asset["pointBalance"]) == (100.0, 100.0)
    vendor.top_up(0)
    assert vendor.body("/point/query", {"notZero": True})["pointAssets"] == []
    assert vendor.balance() == 0


@pytest.mark.parametrize(
    ("seconds", "tier", "points"),
    [
        (0.1, "basic", 1),
        (30.0, "basic", 1),
        (30.01, "basic", 2),
        (60.0, "lite", 8),
        (61.0, "lite", 12),
        (899.9, "pro", 180),
    ],
)
def test_each_started_unit_counts(seconds: float, tier: str, points: float) -> None:
    with Store(":memory:") as store:
        assert math.isclose(price(SwitchBoard(store, SWITCHES), tier, seconds), points)


def test_tier_sets_the_price(vendor: Vendor) -> None:
    text = masks(mask("remove_only_ocr"))
    vendor.ended(vendor.submit(videoInpaintMasks=text, extraOptions=LITE))
    assert vendor.balance() == 96
    whole = {"needChineseOcclude": 1, "videoInpaintMasks": None}
    row = vendor.ended(vendor.submit(**whole, extraOptions=PRO))
    assert (row["paidPoint"], vendor.balance()) == (6.0, 90)


def test_no_points_at_the_start(vendor: Vendor) -> None:
    vendor.top_up(0.5)
    work = vendor.submit()
    row = vendor.ended(work)
    assert (row["processStatus"], row["paidPoint"], "videoUrl" in row) == (73, 0.0, False)
    assert vendor.balance() == 0.5
    vendor.top_up(5)
    assert vendor.row(work)["processStatus"] == 73
    assert vendor.body("/work/video/redo", {"id": work}) is True
    assert vendor.ended(work)["processStatus"] == 1
    assert vendor.balance() == 4


def lock(vendor: Vendor) -> int:
    vendor.faults({"call": "job", "kind": "failed", "status": 83})
    work = vendor.submit()
    row = vendor.ended(work)
    assert (row["processStatus"], "videoUrl" in row) == (83, False)
    vendor.top_up(0)
    return work


def test_a_locked_work_is_unlocked_by_top_up_and_redo(vendor: Vendor) -> None:
    work = lock(vendor)
    assert vendor.body("/work/video/redo", {"id": work}) is False
    vendor.top_up(3)
    assert vendor.row(work)["processStatus"] == 83
    assert vendor.body("/work/video/redo", {"id": work}) is True
    row = vendor.row(work)
    assert (row["processStatus"], row["paidPoint"], vendor.balance()) == (1, 1.0, 2)
    assert vendor.http.get(row["videoUrl"]).status_code == 200


def test_a_locked_work_may_be_unlocked_by_the_top_up(vendor: Vendor) -> None:
    vendor.settings(unlock_on_top_up=True)
    work = lock(vendor)
    vendor.top_up(3)
    assert (vendor.row(work)["processStatus"], vendor.balance()) == (1, 2)


def test_points_that_run_out_meanwhile_lock_the_result(vendor: Vendor) -> None:
    vendor.settings(seconds_per_job=1.0)
    vendor.top_up(1.5)
    works = [vendor.submit() for _ in range(2)]
    assert sorted(vendor.ended(work)["processStatus"] for work in works) == [1, 83]
    assert vendor.balance() == 0.5
    assert sum(job["billed"] for job in vendor.jobs()) == 1


def test_control_of_points_checks_its_body(vendor: Vendor) -> None:
    bodies: list[object] = [{}, {"balance": -1}, {"balance": True}, []]
    for body in [*bodies, {"balance": 1, "app_key": "nobody"}]:
        assert vendor.http.put("/_sandbox/points", json=body).status_code == 400
    balances = vendor.http.get("/_sandbox/points").json()["balances"]
    assert balances[vendor.key] == 100
