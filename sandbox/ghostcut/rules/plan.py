"""The plan of an accepted work, and the rules whose breach is status 26.

Sources: vendor docs, "smart text removal" (masks, modes, quality tiers) and "extra options".
Assumed: a breach shows as status 26 with `errorDetail`; see the README.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.common.json_text import load

OPEN_END = 99999.0
MASK_KINDS = ("remove", "remove_only_ocr", "keep")
LANGUAGES = ("all", "zh", "en", "ja", "ko", "ar")
RESOLUTIONS = {"480p": 480, "720p": 720, "1080p": 1080}

Box = tuple[float, float, float, float]


class InvalidPlanError(Exception):
    """The request cannot be processed; the text becomes the row's `errorDetail`."""


@dataclass(frozen=True)
class MaskRule:
    """One mask: fractions of the frame as (left, top, right, bottom), seconds of the clip.

    Exactly one of `end` and `to_end` (seconds before the end of the clip) is set.
    """

    kind: str
    start: float
    end: float | None
    to_end: float | None
    box: Box

    def window(self, duration: float) -> tuple[float, float]:
        """Start and end in seconds for a clip of this length; may be empty."""
        end = duration - self.to_end if self.to_end is not None else self.end
        return self.start, min(duration, OPEN_END if end is None else end)


@dataclass(frozen=True)
class Plan:
    """A valid request: the tier sets the price, `cut` limits the output to (start, end) seconds."""

    mode: int
    tier: str
    masks: tuple[MaskRule, ...]
    resolution: int
    crf: int
    cut: tuple[float, float] | None


@dataclass(frozen=True)
class _Tier:
    price: str
    mode: int | None
    boxes: tuple[int, int]
    area: float | None
    kinds: tuple[str, ...]


_TIERS = {
    "advanced_lite": _Tier("lite", 2, (1, 10), None, ("remove_only_ocr",)),
    "advanced": _Tier("pro", 2, (1, 1), 0.20, ("remove_only_ocr",)),
    "advanced_large_box": _Tier("pro", 2, (1, 1), 0.40, ("remove_only_ocr",)),
    "advanced_full": _Tier("pro", 1, (0, 0), None, ()),
}


def read_plan(request: Mapping[str, Any], *, lenient: bool = False) -> Plan:
    """Read the stored request of a work (keys mode, lang, resolution, masks, extra).

    Raises InvalidPlanError. `lenient` forgives the rules about tiers, languages and corner order,
    which the vendor may not enforce, but nothing that prevents the processing.
    """
    extra = _decoded(request.get("extra"), "extraOptions", dict)
    items = _decoded(request.get("masks"), "videoInpaintMasks", list)
    masks = tuple(_mask(item, lenient) for item in items)
    mode = int(request["mode"])
    if mode == 2 and not masks:
        raise InvalidPlanError("videoInpaintMasks is required when needChineseOcclude is 2")
    resolution = RESOLUTIONS.get(request["resolution"])
    if resolution is None:
        raise InvalidPlanError(f"resolution must be one of {', '.join(RESOLUTIONS)}")
    if request["lang"] not in LANGUAGES:
        raise InvalidPlanError(f"videoInpaintLang must be one of {', '.join(LANGUAGES)}")
    config = extra.get("extra_inpaint_config") or {}
    if not isinstance(config, dict):
        raise InvalidPlanError("extra_inpaint_config must be an object")
    model = config.get("model")
    if model is not None and model not in _TIERS:
        raise InvalidPlanError("extra_inpaint_config.model is unknown")
    if not lenient:
        _check_tier(model, mode, request["lang"], masks)
    return Plan(
        mode=mode,
        tier="basic" if model is None else _TIERS[model].price,
        masks=masks,
        resolution=resolution,
        crf=_crf(extra.get("write_options")),
        cut=_cut(extra.get("range")),
    )


def _check_tier(model: str | None, mode: int, lang: str, masks: tuple[MaskRule, ...]) -> None:
    if model is None:
        if mode == 1 and any(mask.kind != "keep" for mask in masks):
            raise InvalidPlanError("only keep masks are allowed when needChineseOcclude is 1")
        return
    tier = _TIERS[model]
    low, high = tier.boxes
    area = sum((m.box[2] - m.box[0]) * (m.box[3] - m.box[1]) for m in masks)
    if mode != tier.mode:
        raise InvalidPlanError(f"model {model} requires needChineseOcclude {tier.mode}")
    if lang != "all":
        raise InvalidPlanError(f"model {model} requires videoInpaintLang all")
    if not low <= len(masks) <= high:
        raise InvalidPlanError(f"model {model} allows {low} to {high} masks")
    if any(mask.kind not in tier.kinds for mask in masks):
        raise InvalidPlanError(f"model {model} allows only masks of type {', '.join(tier.kinds)}")
    if tier.area is not None and area >= tier.area:
        raise InvalidPlanError(f"model {model} requires an area below {tier.area:.2f} of the frame")


def _mask(item: Any, lenient: bool) -> MaskRule:
    if not isinstance(item, dict):
        raise InvalidPlanError("a mask must be an object")
    kind = item.get("type")
    if kind not in MASK_KINDS:
        raise InvalidPlanError(f"mask type must be one of {', '.join(MASK_KINDS)}")
    if item.get("end") is not None and item.get("to_end") is not None:
        raise InvalidPlanError("end and to_end exclude each other")
    start = _seconds(item, "start") or 0.0
    to_end = _seconds(item, "to_end")
    end = _seconds(item, "end")
    if to_end is None and end is None:
        end = OPEN_END
    if end is not None and end <= start:
        raise InvalidPlanError("mask end must be after its start")
    return MaskRule(kind, start, end, to_end, _box(item.get("region"), lenient))


def _box(region: Any, lenient: bool) -> Box:
    if not isinstance(region, list) or len(region) != 4:
        raise InvalidPlanError("region must have 4 points")
    points: list[tuple[float, float]] = []
    for point in region:
        if not isinstance(point, list) or len(point) != 2 or not all(map(_is_number, point)):
            raise InvalidPlanError("a point of region must be [x, y]")
        if not all(0 <= value <= 1 for value in point):
            raise InvalidPlanError("region must lie inside the frame, 0 to 1")
        points.append((float(point[0]), float(point[1])))
    left, right = min(p[0] for p in points), max(p[0] for p in points)
    top, bottom = min(p[1] for p in points), max(p[1] for p in points)
    if right <= left or bottom <= top:
        raise InvalidPlanError("region has no area")
    if not lenient and points != [(left, top), (right, top), (right, bottom), (left, bottom)]:
        raise InvalidPlanError(
            "region must be a rectangle: top left, top right, bottom right, bottom left"
        )
    return left, top, right, bottom


def _seconds(item: Mapping[str, Any], field: str) -> float | None:
    value = item.get(field)
    if value is None:
        return None
    if not _is_number(value) or value < 0:
        raise InvalidPlanError(f"mask {field} must be a number of seconds")
    return float(value)


def _crf(options: Any) -> int:
    if options is None:
        return 17
    crf = options.get("crf", 17) if isinstance(options, dict) else None
    if not isinstance(crf, int) or isinstance(crf, bool) or not 10 <= crf <= 30:
        raise InvalidPlanError("write_options.crf must be an integer from 10 to 30")
    return crf


def _cut(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_number, value)):
        raise InvalidPlanError("range must be [start, end] in seconds")
    if not 0 <= value[0] < value[1]:
        raise InvalidPlanError("range must end after its start")
    return float(value[0]), float(value[1])


def _decoded(text: str | None, field: str, kind: type) -> Any:
    """The JSON text of a field; an empty `kind` without one."""
    if not text:
        return kind()
    try:
        value = load(text)
    except ValueError:
        raise InvalidPlanError(f"{field} is not JSON") from None
    if not isinstance(value, kind):
        raise InvalidPlanError(f"{field} has the wrong shape")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
