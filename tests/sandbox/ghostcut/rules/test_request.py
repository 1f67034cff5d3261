"""Submits that are refused at once, that fail later, and the content of the response."""

from typing import Any

import pytest

from tests.sandbox.ghostcut.vendor import SUBTITLE, Vendor, mask, masks


def test_batch(vendor: Vendor) -> None:
    urls = [f"{vendor.source}?n={number}" for number in range(3)]
    request = vendor.request(urls=urls, names=["a", "b", "c"])
    first = vendor.body("/work/free", request)
    second = vendor.body("/work/fast", request)
    ids = [row["id"] for row in first["dataList"] + second["dataList"]]
    assert [row["url"] for row in first["dataList"]] == urls
    assert ids == sorted(set(ids))
    assert second["idProject"] > first["idProject"]
    assert all(isinstance(number, int) and len(str(number)) == 9 for number in ids)
    rows = vendor.rows(idProjects=[first["idProject"]])
    assert {row["name"]: row["url"] for row in rows} == dict(zip("abc", urls, strict=True))
    assert {row["idProject"] for row in rows} == {first["idProject"]}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"urls": None}, 3008),
        ({"urls": []}, 3008),
        ({"urls": "http://127.0.0.1/a.mp4"}, 4001),
        ({"urls": [""]}, 4001),
        ({"urls": [7]}, 4001),
        ({"urls": ["http://127.0.0.1/a.mp4"] * 21}, 3006),
        ({"names": "job"}, 4001),
        ({"names": [1]}, 4001),
        ({"needChineseOcclude": None}, 4001),
        ({"needChineseOcclude": 0}, 4001),
        ({"needChineseOcclude": 3}, 4001),
        ({"needChineseOcclude": 14}, 4001),
        ({"needChineseOcclude": "2"}, 4001),
        ({"needChineseOcclude": True}, 4001),
        ({"resolution": 1080}, 4001),
        ({"callback": 1}, 4001),
        ({"videoInpaintMasks": [mask()]}, 4001),
        ({"videoInpaintMasks": mask()}, 4001),
        ({"videoInpaintMasks": "[{"}, 4001),
        ({"videoInpaintMasks": '{"type":"remove"}'}, 4001),
        ({"extraOptions": {"write_options": {}}}, 4001),
        ({"extraOptions": "[]"}, 4001),
    ],
)
def test_refused_at_once(vendor: Vendor, fields: dict[str, Any], code: int) -> None:
    answer = vendor.call("/work/free", vendor.request(**fields))
    assert (answer["code"], answer["body"]) == (code, None)
    assert vendor.jobs() == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"videoInpaintMasks": None}, "required"),
        ({"videoInpaintMasks": masks(mask("erase"))}, "type"),
        ({"videoInpaintMasks": masks(mask(region=SUBTITLE[:2]))}, "points"),
        ({"extraOptions": '{"extra_inpaint_config":{"model":"advanced"}}'}, "remove_only_ocr"),
    ],
)
def test_accepted_and_invalid_later(vendor: Vendor, fields: dict[str, Any], reason: str) -> None:
    row = vendor.ended(vendor.submit(**fields))
    assert row["processStatus"] == row["processStatusEnum"]["code"] == 26
    assert reason in row["errorDetail"]
    assert (row["paidPoint"], row["processProgress"], "videoUrl" in row) == (0.0, 100.0, False)
    assert vendor.balance() == 100


def test_native_masks_may_be_refused_later(vendor: Vendor) -> None:
    vendor.settings(native_json_fails_later=True)
    for native in ([mask()], "[{"):
        row = vendor.ended(vendor.submit(videoInpaintMasks=native))
        assert (row["processStatus"], row["errorDetail"]) == (26, "videoInpaintMasks is not JSON")


def test_switches_of_refusals(vendor: Vendor) -> None:
    vendor.settings(code_no_feature=4002, code_native_json=4004, code_too_many_urls=4003)
    vendor.settings(max_urls=2, require_lang=True)
    for fields, code in (
        ({"needChineseOcclude": 0}, 4002),
        ({"videoInpaintMasks": []}, 4004),
        ({"urls": [vendor.source] * 3}, 4003),
        ({"videoInpaintLang": None}, 4001),
    ):
        assert vendor.call("/work/free", vendor.request(**fields))["code"] == code


def test_names_of_another_count_are_dropped(vendor: Vendor) -> None:
    work = vendor.submit(names=["one", "two"])
    assert vendor.row(work)["name"] == ""


def test_language_may_be_left_out(vendor: Vendor) -> None:
    assert vendor.ended(vendor.submit(videoInpaintLang=None))["processStatus"] == 1


def test_identical_requests_are_separate_paid_works(vendor: Vendor) -> None:
    before = vendor.audit()
    works = [vendor.submit() for _ in range(2)]
    for work in works:
        vendor.ended(work)
    audit = vendor.audit()
    jobs = vendor.jobs()
    assert audit["accepted"] - before["accepted"] == 2
    # Works of other accounts may still be charged meanwhile, so the sum is only a lower bound here.
    assert audit["billed"] - before["billed"] >= 2
    assert audit["duplicates"] - before["duplicates"] == 1
    assert audit["replayed"] == 0
    assert [(job["reference"], job["status"], job["billed"]) for job in jobs] == [("job", 1, 1)] * 2
    assert vendor.balance() == 98


def test_audit_hides_the_query_string(vendor: Vendor) -> None:
    vendor.submit(urls=[vendor.source + "?X-Amz-Signature=secret"])
    (job,) = vendor.jobs()
    assert job["url"] == vendor.source
