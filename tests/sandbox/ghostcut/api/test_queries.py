"""Queries: selection, order, paging, time windows, isolation, lag and the shape of rows."""

import httpx

from sandbox.common.server import RunningServer
from sandbox.ghostcut.api.calls import paged
from sandbox.ghostcut.work.works import Work
from tests.sandbox.control import wait_until
from tests.sandbox.ghostcut.conftest import ACCOUNTS
from tests.sandbox.ghostcut.vendor import Vendor

DEAD = "http://127.0.0.1:9/a.mp4"


def submit_some(vendor: Vendor, count: int) -> list[int]:
    return [vendor.submit(urls=[f"{DEAD}?{number}"]) for number in range(count)]


def test_selection_and_order(vendor: Vendor) -> None:
    works = submit_some(vendor, 4)
    newest_first = works[::-1]
    assert [row["id"] for row in vendor.rows()] == newest_first
    assert [row["id"] for row in vendor.rows(idWorks=[], idProjects=[])] == newest_first
    assert [row["id"] for row in vendor.rows(idWorks=works[:2])] == newest_first[2:]
    mixed = [str(works[0]), works[2], works[2], 999999999, "none"]
    assert [row["id"] for row in vendor.rows(idWorks=mixed)] == [works[2], works[0]]
    project = vendor.row(works[1])["idProject"]
    assert [row["id"] for row in vendor.rows(idProjects=[project])] == [works[1]]
    both = vendor.rows(idWorks=[works[3]], idProjects=[project])
    assert [row["id"] for row in both] == [works[3]]
    assert vendor.rows(idWorks=[1]) == []
    listed = vendor.body("/work/list", {"idWorks": [works[0]]})
    assert [row["id"] for row in listed["content"]] == newest_first


def test_wrong_types_are_refused(vendor: Vendor) -> None:
    for query in ({"idWorks": "1"}, {"idWorks": [True]}, {"idWorks": [1.5]}, {"page": "0"}):
        assert vendor.call("/work/status", query)["code"] == 4001


def test_paging(vendor: Vendor) -> None:
    works = submit_some(vendor, 23)[::-1]

    def page(**query: int) -> list[int]:
        return [row["id"] for row in vendor.rows(**query)]

    assert page(page=0, pageSize=10) == works[:10]
    assert page(page=2, pageSize=10) == works[20:]
    assert page(page=3, pageSize=10) == []
    assert page(page=0) == works[:20]
    assert page(page=0, pageSize=1_000_000) == works
    assert page(pageSize=1) == works
    assert vendor.body("/work/list", {"page": 1, "pageSize": 5})["count"] == 23


def test_page_size_is_cut_at_2000() -> None:
    works: list[Work] = [{"id": number} for number in range(2020)]
    assert list(paged(works, 0, 5000)) == works[:2000]
    assert list(paged(works, 1, 5000)) == works[2000:]
    assert list(paged(works, -1, -1)) == works[:1]


def test_time_window(vendor: Vendor) -> None:
    first = vendor.submit()
    created = vendor.row(first)["createTime"]
    wait_until(lambda: vendor.row(vendor.submit())["createTime"] > created)

    def found(since: int, until: int) -> bool:
        rows = vendor.rows(
            createTimeGreaterThanOrEqualTo=since, createTimeLessThan=until, page=0, pageSize=50
        )
        assert all(since <= row["createTime"] < until for row in rows)
        return first in [row["id"] for row in rows]

    assert found(created, created + 1)
    assert not found(created + 1, created + 100_000)
    assert not found(created - 100_000, created)


def test_accounts_are_isolated(vendor: Vendor, emulator: RunningServer) -> None:
    work = vendor.submit()
    key, secret = list(ACCOUNTS.items())[-1]
    other = Vendor(emulator.url, key, secret, vendor.source)
    with other.http:
        assert other.rows() == other.rows(idWorks=[work]) == []
        assert other.rows(idProjects=[vendor.row(work)["idProject"]]) == []
        assert other.body("/work/delete", {"idWorks": [work]}) is True
        assert other.call("/work/video/redo", {"id": work})["code"] == 3003
    assert vendor.row(work)["id"] == work


def test_delete(vendor: Vendor, plain: httpx.Client) -> None:
    work, kept = vendor.submit(), vendor.submit()
    link = vendor.ended(work)["videoUrl"]
    assert plain.get(link).status_code == 200
    assert vendor.body("/work/delete", {"idWorks": [work, 12345]}) is True
    assert vendor.rows(idWorks=[work]) == []
    assert [row["id"] for row in vendor.rows()] == [kept]
    assert plain.get(link).status_code == 404
    assert vendor.call("/work/video/redo", {"id": work})["code"] == 3003
    assert vendor.call("/work/delete", {})["code"] == 4001
    vendor.settings(show_deleted=True)
    assert vendor.row(work)["deleted"] == 1
    # Processed work stays paid.
    assert [job["billed"] for job in vendor.jobs() if job["deleted"]] == [1]


def test_listings_lag_behind_queries_by_id(vendor: Vendor) -> None:
    vendor.settings(list_lag_seconds=3600.0)
    work = vendor.submit()
    assert vendor.rows() == []
    assert vendor.body("/work/list", {})["content"] == []
    assert vendor.row(work)["id"] == work
    vendor.settings(list_lag_seconds=0.05, status_lag_seconds=3600.0)
    wait_until(vendor.rows)
    assert vendor.rows(idWorks=[work]) == []


def test_shape_of_rows(vendor: Vendor) -> None:
    url = f"{vendor.source}?X-Amz-Signature=s"
    work = vendor.submit(urls=[url], names=["attempt-1"])
    row = vendor.ended(work)
    assert row["url"] == url
    assert row["name"] == "attempt-1"
    assert row["processStatusEnum"]["code"] == 1
    assert (row["paidPoint"], row["processProgress"], row["errorDetail"]) == (1.0, 100.0, "")
    assert row["duration"] == 1.5
    assert row["fileSize"] > 1000
    assert (row["deleted"], row["srcSrtUrl"], row["tgtSrtUrl"]) == (0, "", "")
    assert row["createTime"] <= row["lastUpdateTime"]
    vendor.settings(ids_as_strings=True, omit_enum=True, omit_names=True, strip_url_query=True)
    row = vendor.row(work)
    assert row["id"] == str(work)
    assert row["url"] == vendor.source
    assert not {"processStatusEnum", "name"} & set(row)
    assert vendor.body("/work/free", vendor.request())["dataList"][0]["id"] == str(work + 1)


def test_status_faults(vendor: Vendor) -> None:
    work = vendor.submit()
    vendor.ended(work)
    vendor.faults(
        {"call": "status", "kind": "unknown_status", "status": 777},
        {"call": "status", "kind": "empty"},
    )
    row = vendor.row(work)
    assert (row["processStatus"], row["processStatusEnum"]["code"]) == (777, 777)
    assert "videoUrl" not in row
    assert vendor.rows(idWorks=[work]) == []
    assert vendor.row(work)["processStatus"] == 1
