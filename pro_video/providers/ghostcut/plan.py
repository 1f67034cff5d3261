"""Maps annotation areas to the parameters of a GhostCut work: pure, without network or bytes.

GhostCut's documentation: mode 1 acts on the whole frame by itself, mode 2 only in the given masks;
a mask is `remove` (everything), `remove_only_ocr` (text only) or `keep`; coordinates are fractions,
origin top left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pro_video.providers.ghostcut.models import OPEN_END, Mask, MaskType
from pro_video.request.models import (
    AnnotationArea,
    AreaKind,
    InpaintingOptions,
    Language,
    Quality,
    Resolution,
)

MASK_TYPES: Final[dict[AreaKind, MaskType]] = {
    "erase": "remove",
    "erase_text": "remove_only_ocr",
    "protect": "keep",
}


@dataclass(frozen=True, slots=True)
class InpaintingPlan:
    """The parameters of a GhostCut work.

    Attributes:
        mode: 1 for automatic text removal in the whole frame, 2 for the masks only.
        language: of the text.
        resolution: of the result, at most.
        tier: quality.
        masks: in the order of the areas; in mode 1 only `keep` masks, or none.
    """

    mode: Literal[1, 2]
    language: Language
    resolution: Resolution
    tier: Quality
    masks: tuple[Mask, ...]


def inpainting_plan(
    areas: Sequence[AnnotationArea], options: InpaintingOptions, duration: float | None = None
) -> InpaintingPlan:
    """The plan of checked areas.

    Protections alone mean that text is removed everywhere else: mode 1 with `keep` masks. The
    quality pro_full, whose one area covers the whole frame, is mode 1 without masks.

    Args:
        areas: at least one.
        options: language, resolution and quality.
        duration: of the video in seconds; an end is never later. None when it is unknown.

    Raises:
        ValueError: no areas, which would widen the job to the whole frame.
    """
    if not areas:
        raise ValueError("text removal needs at least one annotation area")
    whole_frame = options.quality == "pro_full"
    automatic = whole_frame or all(area.kind == "protect" for area in areas)
    return InpaintingPlan(
        mode=1 if automatic else 2,
        language=options.language,
        resolution=options.resolution,
        tier=options.quality,
        masks=() if whole_frame else tuple(_mask(area, duration) for area in areas),
    )


def _mask(area: AnnotationArea, duration: float | None) -> Mask:
    end = OPEN_END
    if area.end is not None:
        end = area.end if duration is None else min(area.end, duration)
    return Mask(MASK_TYPES[area.kind], area.start, end, area.region.box)
