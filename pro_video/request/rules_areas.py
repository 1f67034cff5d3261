"""The rules of annotation areas before files are known, and those of GhostCut's quality tiers.

Each function reports its problems and goes on. A protection wins over an erasure where they
overlap, because GhostCut processes nothing inside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pro_video.request import limits
from pro_video.request.models import AnnotationArea, InpaintingOptions, Region
from pro_video.request.problems import Problems
from pro_video.request.rules_segments import check_range, not_finite

Placed = tuple[int, AnnotationArea]
"""An area with a valid region, and its index in the user's list."""


def check_area_list(
    areas: Sequence[AnnotationArea | None], options: InpaintingOptions | None, found: Problems
) -> None:
    """Check each area, then all of them together, then the quality tier."""
    if len(areas) > limits.MAX_AREAS:
        found.add(
            "annotation_areas",
            "areas_too_many",
            f"has {len(areas)} areas and {limits.MAX_AREAS} are allowed; merge some",
        )
    placed: list[Placed] = []
    known: dict[tuple[object, ...], int] = {}
    for index, area in enumerate(areas):
        if area is None:
            continue
        path = f"annotation_areas[{index}]"
        check_range(area.start, area.end, path, found)
        if area.region is None or not _check_region(area.region, f"{path}.region", found):
            continue
        placed.append((index, area))
        identity = (area.kind, area.region.box, area.start, area.end)
        first = known.setdefault(identity, index)
        if first != index:
            found.add(
                path, "area_duplicate", f"is the same as annotation_areas[{first}]; remove it"
            )
    _check_protected(placed, len(areas), found)
    if options is not None and options.quality not in {None, "basic"}:
        _check_tier(areas, placed, options, found)


def _check_region(region: Region, path: str, found: Problems) -> bool:
    values = {name: getattr(region, name) for name in ("x", "y", "width", "height")}
    valid = True
    for name, value in values.items():
        if not math.isfinite(value):
            not_finite(f"{path}.{name}", found)
            valid = False
    for edge, side, extent in (("x", "width", "width"), ("y", "height", "height")):
        low, length = values[edge], values[side]
        outside = low < -limits.FRAME_TOLERANCE or low > 1 + limits.FRAME_TOLERANCE
        if outside:
            found.add(
                f"{path}.{edge}",
                "region_outside",
                "lies outside the frame; it must be from 0 to 1, as a fraction of the frame's "
                f"{extent}, not pixels",
            )
            valid = False
        if length < limits.MIN_REGION_SIDE:
            found.add(
                f"{path}.{side}",
                "region_empty",
                f"must be at least {limits.MIN_REGION_SIDE:g} of the frame's {extent}; "
                "a region needs an area",
            )
            valid = False
        elif not outside and low + length > 1 + limits.FRAME_TOLERANCE:
            found.add(
                f"{path}.{side}",
                "region_outside",
                f"reaches beyond the frame: {edge} + {side} must not exceed 1",
            )
            valid = False
    return valid


def _check_protected(placed: Sequence[Placed], count: int, found: Problems) -> None:
    """Refuse paid work without any effect."""
    guards = [(index, area) for index, area in placed if area.kind == "protect"]
    if len(guards) == count:
        for index, area in guards:
            if covers_everything(area):
                found.add(
                    f"annotation_areas[{index}]",
                    "nothing_to_remove",
                    "protects the whole frame for the whole video, so nothing is left to remove; "
                    "make it smaller or remove it",
                )
    for index, area in placed:
        if area.kind == "protect":
            continue
        for guard, protection in guards:
            if _contains(protection, area):
                found.add(
                    f"annotation_areas[{index}]",
                    "area_protected",
                    f"lies inside annotation_areas[{guard}], which protects it for the whole time, "
                    "so nothing would be removed; change one of them",
                )


def _contains(outer: AnnotationArea, inner: AnnotationArea) -> bool:
    left, top, right, bottom = outer.region.box
    a, b, c, d = inner.region.box
    outer_end = math.inf if outer.end is None else outer.end
    inner_end = math.inf if inner.end is None else inner.end
    in_frame = left <= a and top <= b and right >= c and bottom >= d
    return in_frame and outer.start <= inner.start and outer_end >= inner_end


def covers_everything(area: AnnotationArea) -> bool:
    """Is it the whole frame for the whole video?"""
    return area.region.box == (0.0, 0.0, 1.0, 1.0) and area.start == 0 and area.end is None


def _check_tier(
    areas: Sequence[AnnotationArea | None],
    placed: Sequence[Placed],
    options: InpaintingOptions,
    found: Problems,
) -> None:
    quality = options.quality
    if options.language is not None and options.language != "all":
        found.add(
            "inpainting.language",
            "language_tier",
            f"must be all with the quality {quality}; leave it at all, or use the quality basic",
        )
    for index, area in enumerate(areas):
        if area is not None and area.kind in {"erase", "protect"}:
            found.add(
                f"annotation_areas[{index}].kind",
                "kind_tier",
                f"{area.kind} needs the quality basic; the quality {quality} takes erase_text only",
            )
    if quality == "pro_full":
        _check_full(placed, len(areas), found)
    elif quality == "lite":
        if len(areas) > limits.MAX_LITE_AREAS:
            found.add(
                "annotation_areas",
                "areas_tier",
                f"has {len(areas)} areas and the quality lite takes {limits.MAX_LITE_AREAS}; "
                "merge some, or use the quality basic",
            )
    else:
        _check_one_box(placed, len(areas), quality, found)


def _check_full(placed: Sequence[Placed], count: int, found: Problems) -> None:
    advice = (
        "the quality pro_full removes text from the whole frame for the whole video: give exactly "
        "one erase_text area with x 0, y 0, width 1, height 1, start 0 and no end, or use another "
        "quality"
    )
    if count != 1:
        found.add("annotation_areas", "areas_tier", f"has {count} areas; {advice}")
    for index, area in placed:
        if area.kind == "erase_text" and not covers_everything(area):
            found.add(f"annotation_areas[{index}]", "area_tier", advice)


def _check_one_box(placed: Sequence[Placed], count: int, quality: str, found: Problems) -> None:
    if count > 1:
        found.add(
            "annotation_areas",
            "areas_tier",
            f"has {count} areas and the quality {quality} takes exactly one; use the quality lite "
            f"(up to {limits.MAX_LITE_AREAS}) or basic",
        )
    share = limits.PRO_SHARE[quality]
    larger = "pro_large, lite or basic" if quality == "pro" else "lite or basic"
    for index, area in placed:
        if area.region.area >= share - limits.FRAME_TOLERANCE:
            found.add(
                f"annotation_areas[{index}].region",
                "area_tier",
                f"covers {area.region.area:.1%} of the frame and the quality {quality} takes less "
                f"than {share:.0%}; make it smaller, or use the quality {larger}",
            )
