import json
from typing import Any

import pytest

from sandbox.ghostcut.rules.plan import InvalidPlanError, Plan, read_plan
from tests.sandbox.ghostcut.vendor import SUBTITLE, mask

FULL = [[0, 0], [1, 0], [1, 1], [0, 1]]
TEXT = "remove_only_ocr"


def box(width: float, height: float) -> list[list[float]]:
    return [[0, 0], [width, 0], [width, height], [0, height]]


def plan(
    *masks: Any, mode: int = 2, lenient: bool = False, model: str | None = None, **fields: Any
) -> Plan:
    extra = dict(fields.pop("extra", {}))
    if model is not None:
        extra["extra_inpaint_config"] = {"model": model}
    request = {
        "mode": mode,
        "lang": "all",
        "resolution": "720p",
        "masks": json.dumps(list(masks)) if len(masks) else None,
        "extra": json.dumps(extra) if extra else None,
        **fields,
    }
    return read_plan(request, lenient=lenient)


def test_masks_windows_and_options() -> None:
    read = plan(
        mask(start=1, end=99999),
        mask("keep", box(0.5, 0.25), to_end=2.5),
        mask(TEXT),
        extra={"range": [1, 4.5], "write_options": {"crf": 23}},
    )
    assert [rule.kind for rule in read.masks] == ["remove", "keep", TEXT]
    assert [rule.window(10) for rule in read.masks] == [(1, 10), (0, 7.5), (0, 10)]
    assert (read.tier, read.resolution, read.crf) == ("basic", 720, 23)
    assert read.cut == (1.0, 4.5)
    assert read.masks[1].box == (0, 0, 0.5, 0.25)


@pytest.mark.parametrize(
    ("masks", "options", "tier"),
    [
        ([mask(TEXT)] * 10, {"model": "advanced_lite"}, "lite"),
        ([mask(TEXT, FULL)], {"model": "advanced_lite"}, "lite"),
        ([mask(TEXT, box(0.5, 0.39))], {"model": "advanced"}, "pro"),
        ([mask(TEXT, box(0.79, 0.5))], {"model": "advanced_large_box"}, "pro"),
        ([], {"model": "advanced_full", "mode": 1}, "pro"),
        ([], {"mode": 1}, "basic"),
        ([mask("keep")], {"mode": 1}, "basic"),
    ],
)
def test_tiers(masks: list[Any], options: dict[str, Any], tier: str) -> None:
    assert plan(*masks, **options).tier == tier


@pytest.mark.parametrize(
    ("masks", "options", "reason"),
    [
        ([], {}, "videoInpaintMasks is required"),
        ([mask("trans_only_ocr")], {}, "mask type"),
        ([mask(region=SUBTITLE[:3])], {}, "4 points"),
        ([mask(region=[[0, 0, 1, 1]] * 4)], {}, "[x, y]"),
        ([mask(region=[["0", 0], [1, 0], [1, 1], [0, 1]])], {}, "[x, y]"),
        ([mask(region=[10, 20, 300, 40])], {}, "[x, y]"),
        ([mask(region=box(1.01, 1))], {}, "inside the frame"),
        ([mask(region=[[-0.1, 0], [1, 0], [1, 1], [-0.1, 1]])], {}, "inside the frame"),
        ([mask(region=box(0.5, 0))], {}, "no area"),
        ([mask(region=None)], {}, "4 points"),
        ([mask(end=5, to_end=1)], {}, "exclude"),
        ([mask(start=3, end=3)], {}, "after its start"),
        ([mask(start=-1)], {}, "start must be"),
        ([mask(end="9")], {}, "end must be"),  # type: ignore[arg-type]
        (["mask"], {}, "must be an object"),
        ([mask(TEXT)] * 11, {"model": "advanced_lite"}, "1 to 10"),
        ([mask("remove")], {"model": "advanced_lite"}, "only masks of type"),
        ([mask("keep")], {"model": "advanced"}, "only masks of type"),
        ([mask(TEXT)] * 2, {"model": "advanced"}, "1 to 1"),
        ([mask(TEXT, box(0.5, 0.4))], {"model": "advanced"}, "below 0.20"),
        ([mask(TEXT, box(0.5, 0.8))], {"model": "advanced_large_box"}, "below 0.40"),
        ([mask(TEXT)], {"model": "advanced_lite", "lang": "zh"}, "Lang all"),
        ([mask(TEXT)], {"model": "advanced_full"}, "needChineseOcclude 1"),
        ([mask(TEXT)], {"model": "advanced_full", "mode": 1}, "0 to 0"),
        ([mask(TEXT)], {"model": "best"}, "model is unknown"),
        ([mask("remove")], {"mode": 1}, "only keep"),
        ([mask()], {"lang": "de"}, "videoInpaintLang"),
        ([mask()], {"resolution": "2160p"}, "resolution"),
        ([mask()], {"extra": {"write_options": {"crf": 9}}}, "crf"),
        ([mask()], {"extra": {"write_options": []}}, "crf"),
        ([mask()], {"extra": {"range": [4, 2]}}, "range"),
        ([mask()], {"extra": {"range": ["0", 2]}}, "range"),
        ([mask()], {"extra": {"extra_inpaint_config": "x"}}, "extra_inpaint_config"),
    ],
)
def test_refusals(masks: list[Any], options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidPlanError) as refusal:
        plan(*masks, **options)
    assert reason in str(refusal.value)


def test_corner_order_and_tiers_can_be_forgiven() -> None:
    twisted = [SUBTITLE[0], SUBTITLE[1], SUBTITLE[3], SUBTITLE[2]]
    with pytest.raises(InvalidPlanError, match="top left, top right"):
        plan(mask(region=twisted))
    assert plan(mask(region=twisted), lenient=True).masks[0].box == (0.1, 0.7, 0.9, 0.95)
    assert plan(mask("remove"), model="advanced", lang="zh", lenient=True).tier == "pro"
    with pytest.raises(InvalidPlanError, match="no area"):
        plan(mask(region=box(0, 1)), lenient=True)
