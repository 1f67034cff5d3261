"""The estimates of a job's price."""

from __future__ import annotations

from decimal import Decimal
from typing import get_args

import pytest

from pro_video.core.errors import RequestRefused
from pro_video.pricing.estimate import (
    Estimate,
    estimate_inpainting,
    estimate_job,
    estimate_lip_sync,
)
from pro_video.pricing.prices import GHOSTCUT, SYNC_SO, USD_PER_POINT
from pro_video.providers.ghostcut.models import TIERS
from pro_video.request.models import (
    AnnotationArea,
    InpaintingOptions,
    LipSyncModel,
    Region,
    Segment,
)

AREA = AnnotationArea(kind="erase", region=Region(x=0.1, y=0.8, width=0.5, height=0.1))


@pytest.mark.parametrize(
    ("model", "seconds", "fps", "low", "high"),
    [
        # The vendor's own sample: 90 frames of lipsync-2-pro cost 0.3 USD.
        ("lipsync-2-pro", 3, 30, "0.1998", "0.2997"),
        # Its rates for a second at 25 frames: 0.04 to 0.05, and 0.107 to 0.133.
        ("lipsync-2", 1, 25, "0.0400", "0.0500"),
        ("sync-3", 1, 25, "0.1068", "0.1335"),
        # Fewer frames than 25 a second: the higher end counts 25.
        ("lipsync-2", 10, 24, "0.3840", "0.5000"),
        ("lipsync-2", 10, None, "0.4000", "0.5000"),
        ("lipsync-2", 0, 25, "0.0000", "0.0000"),
        ("a-new-one", 1, 25, "0.1668", "0.1668"),
    ],
)
def test_lip_sync(model: str, seconds: float, fps: float | None, low: str, high: str) -> None:
    found = estimate_lip_sync(model, seconds, fps)
    assert (found.low_usd, found.high_usd) == (Decimal(low), Decimal(high))


def test_segments_may_be_all_that_is_billed() -> None:
    segment = Segment(start=1, end=3, audio="s3://b/a.wav")
    found = estimate_lip_sync("lipsync-2", 10, 25, [segment])
    assert (found.low_usd, found.high_usd) == (Decimal("0.0800"), Decimal("0.5000"))
    assert "50 to 250 frames" in found.basis


@pytest.mark.parametrize(
    ("tier", "seconds", "low", "high"),
    [("basic", 3, 1, 1), ("basic", 30, 1, 1), ("basic", 31, 2, 2), ("lite", 60, 3, 8)],
)
def test_text_removal(tier: str, seconds: float, low: int, high: int) -> None:
    found = estimate_inpainting(tier, seconds)
    assert (found.low_usd, found.high_usd) == (USD_PER_POINT * low, USD_PER_POINT * high)


def test_every_model_and_tier_has_a_price() -> None:
    assert set(get_args(LipSyncModel)) == set(SYNC_SO.prices)
    assert set(TIERS) == set(GHOSTCUT.prices)


@pytest.mark.parametrize(("seconds", "fps"), [(-1, 25), (1, -1), (float("nan"), 25)])
def test_nonsense_is_refused(seconds: float, fps: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        estimate_lip_sync("lipsync-2", seconds, fps)


def _chain() -> Estimate:
    return estimate_job(
        model="lipsync-2",
        seconds=10,
        fps=25,
        segments=(),
        areas=[AREA],
        inpainting=InpaintingOptions(),
    )


def test_a_job_is_the_sum_of_its_stages() -> None:
    found = _chain()
    assert [stage.stage for stage in found.stages] == ["lip-sync", "inpainting"]
    assert (found.low_usd, found.high_usd) == (Decimal("0.4270"), Decimal("0.5270"))
    assert found.text == "0.43 to 0.53 USD"
    assert Estimate.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("limit", [None, 0.527, 5])
def test_a_limit_that_is_kept(limit: float | None) -> None:
    _chain().check(limit)


def test_a_limit_that_may_be_exceeded_names_both_figures() -> None:
    with pytest.raises(RequestRefused) as caught:
        _chain().check(0.5)
    (problem,) = caught.value.problems
    assert (problem.field, problem.code) == ("max_cost_usd", "max_cost_exceeded")
    for part in ("0.5 USD", "0.53 USD", "Sync.so", "GhostCut", "Nothing was paid"):
        assert part in problem.message
