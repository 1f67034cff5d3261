"""GhostCut's wire format (the request's bytes, the Work), and the estimates of points and time.

Source of the wire format: the vendor's public API guide (https://github.com/zhaoli-ai/GhostCut-ai).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal, get_args
from urllib.parse import unquote, urlsplit

from pro_video.core.errors import FieldProblem, RequestRefused
from pro_video.providers.json_fields import (
    decimal6,
    dumps,
    fraction,
    integer,
    number,
    text,
    whole_word,
)
from pro_video.request.limits import MAX_LITE_AREAS, PRO_SHARE
from pro_video.request.models import Language, Resolution

PROVIDER: Final = "ghostcut"

MODE_AUTOMATIC: Final = 1
"""``needChineseOcclude``: text of the whole frame; ``keep`` masks may protect areas."""
MODE_REGIONS: Final = 2
"""``needChineseOcclude``: inside the masks only; masks are mandatory."""

MaskType = Literal["remove", "remove_only_ocr", "keep"]
REMOVE: Final = "remove"
REMOVE_TEXT: Final = "remove_only_ocr"
KEEP: Final = "keep"

OPEN_END: Final = 99999.0
"""The vendor's customary ``end`` of a mask that lasts until the end of the video, seconds."""


@dataclass(frozen=True, slots=True)
class _Tier:
    """One row of the vendor's table of models (guide, chapter 22)."""

    model: str | None
    mode: int | None
    max_masks: int | None
    max_share: float | None


TIERS: Final[Mapping[str, _Tier]] = MappingProxyType(
    {
        "basic": _Tier(None, None, None, None),
        "lite": _Tier("advanced_lite", MODE_REGIONS, MAX_LITE_AREAS, None),
        "pro": _Tier("advanced", MODE_REGIONS, 1, PRO_SHARE["pro"]),
        "pro_large": _Tier("advanced_large_box", MODE_REGIONS, 1, PRO_SHARE["pro_large"]),
        "pro_full": _Tier("advanced_full", MODE_AUTOMATIC, 0, None),
    }
)
"""Quality tiers."""


@dataclass(frozen=True, slots=True)
class Mask:
    """An area of the frame in a time window.

    Attributes:
        type: the vendor's name of what happens in it.
        start: seconds.
        end: seconds; `OPEN_END` for the end of the video.
        region: left, top, right, bottom as fractions of the frame, origin at the top left.
    """

    type: MaskType
    start: float
    end: float
    region: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class SubmittedWork:
    """The ids of an accepted submit: the batch and its one work."""

    project_id: str
    work_id: str


@dataclass(frozen=True, slots=True)
class Work:
    """A job at GhostCut, as far as its response tells.

    Attributes:
        id: the work's id.
        project_id: the batch's id, or "".
        status: ``processStatus``, see :mod:`.status`; None when absent.
        description: the vendor's word for the status.
        error_detail: the vendor's reason; may hold links. Redact it before use.
        progress: 0 … 1; never decides about the status (failed works show 1).
        name: as submitted, our reference.
        url: link of the source, as submitted.
        video_url: link of the result.
        duration: seconds.
        file_size: bytes.
        paid_points: points charged.
        created_at: time of the submit at the vendor, or None.
    """

    id: str
    project_id: str = ""
    status: int | None = None
    description: str | None = None
    error_detail: str | None = field(default=None, repr=False)
    progress: float | None = None
    name: str | None = None
    url: str | None = field(default=None, repr=False)
    video_url: str | None = field(default=None, repr=False)
    duration: float | None = None
    file_size: int | None = None
    paid_points: float | None = None
    created_at: datetime | None = None

    @classmethod
    def from_json(cls, data: object) -> Work:
        """Read one row of a status response; absent members are tolerated.

        Raises:
            ValueError: not an object, or without id.
        """
        if not isinstance(data, dict):
            raise ValueError("a work is a JSON object")
        identifier = identity(data.get("id"))
        if identifier is None:
            raise ValueError("a work has an id")
        enum = data.get("processStatusEnum")
        words = enum if isinstance(enum, dict) else {}
        size = number(data.get("fileSize"))
        return cls(
            id=identifier,
            project_id=identity(data.get("idProject")) or "",
            status=integer(data.get("processStatus")),
            description=text(words.get("descriptionEn")) or text(words.get("description")),
            error_detail=text(data.get("errorDetail")) or text(data.get("error_detail")),
            progress=fraction(number(data.get("processProgress"))),
            name=text(data.get("name")),
            url=text(data.get("url")),
            video_url=text(data.get("videoUrl")),
            duration=number(data.get("duration")),
            file_size=None if size is None else int(size),
            paid_points=number(data.get("paidPoint")),
            created_at=_moment(data.get("createTime")),
        )

    def summary(self) -> dict[str, Any]:
        """The fields that may be stored and shown: no links, no free text of the vendor."""
        return {
            "id": self.id,
            "project_id": self.project_id,
            "status": self.status,
            "name": self.name,
            "duration": self.duration,
            "file_size": self.file_size,
            "paid_points": self.paid_points,
            "created_at": self.created_at.isoformat() if self.created_at else None,
        }


def planted(*tokens: str) -> Callable[[Work], bool]:
    """A function that finds works with one of ``tokens``, planted in an attempt's submit.

    A token counts as the work's name, and as a whole word in the path of its source's link.

    Raises:
        ValueError: a token is shorter than 8 characters, which other works may have by chance.
    """
    word = whole_word(*tokens)

    def match(work: Work) -> bool:
        if work.name in tokens:
            return True
        return work.url is not None and bool(word.search(unquote(urlsplit(work.url).path)))

    return match


def build_submit_request(
    *,
    video_url: str,
    name: str,
    masks: Sequence[Mask],
    mode: int,
    language: str,
    resolution: str,
    tier: str,
    callback: str | None = None,
) -> bytes:
    """The body of a submit of one video, the same bytes for the same arguments.

    Masks and extra options are JSON *strings* inside the JSON; fractions keep six digits. The
    resolution is always explicit, because the documents disagree on its default.

    Args:
        video_url: link that the vendor can download; ASCII only.
        name: our reference; comes back as the work's name.
        masks: the areas; none or ``keep`` only in automatic mode.
        mode: :data:`MODE_AUTOMATIC` or :data:`MODE_REGIONS`.
        language: of the text, one of `Language`.
        resolution: one of `Resolution`.
        tier: one of :data:`TIERS`.
        callback: address of the callback.

    Raises:
        RequestRefused: the arguments break a rule of the API; all problems at once.
    """
    problems = _problems(video_url, name, mode, language, resolution, tier)
    if tier in TIERS:
        problems += _mask_problems(masks, mode, TIERS[tier], language)
    if problems:
        raise RequestRefused(problems, provider=PROVIDER)
    body: dict[str, Any] = {
        "urls": [video_url],
        "names": [name],
        "resolution": resolution,
        "needChineseOcclude": mode,
        "videoInpaintLang": language,
    }
    if masks:
        body["videoInpaintMasks"] = dumps([_mask(mask) for mask in masks])
    if (model := TIERS[tier].model) is not None:
        body["extraOptions"] = dumps({"extra_inpaint_config": {"model": model}})
    if callback is not None:
        body["callback"] = callback
    return dumps(body).encode()


def expected_seconds(clip_seconds: float) -> float:
    """Usual processing time in seconds. The vendor promises none; users report 2 to 10 minutes."""
    return 120.0 + 2.0 * max(0.0, clip_seconds)


def _problems(
    video_url: str, name: str, mode: int, language: str, resolution: str, tier: str
) -> list[FieldProblem]:
    found = []
    if not video_url or not video_url.isascii():
        found.append(FieldProblem("video_url", "must be a link of ASCII characters"))
    if not name:
        found.append(FieldProblem("name", "must carry the reference of the attempt"))
    if mode not in (MODE_AUTOMATIC, MODE_REGIONS):
        found.append(FieldProblem("mode", "must be 1 (automatic) or 2 (regions)"))
    if language not in get_args(Language):
        found.append(FieldProblem("language", f"must be one of {', '.join(get_args(Language))}"))
    if resolution not in get_args(Resolution):
        found.append(
            FieldProblem("resolution", f"must be one of {', '.join(get_args(Resolution))}")
        )
    if tier not in TIERS:
        found.append(FieldProblem("tier", f"must be one of {', '.join(TIERS)}"))
    return found


def _mask_problems(
    masks: Sequence[Mask], mode: int, tier: _Tier, language: str
) -> list[FieldProblem]:
    found = []
    for index, mask in enumerate(masks):
        where = f"masks[{index}]"
        x0, y0, x1, y1 = mask.region
        if mask.type not in get_args(MaskType):
            found.append(
                FieldProblem(f"{where}.type", f"must be one of {', '.join(get_args(MaskType))}")
            )
        # Written so that NaN fails each comparison.
        if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
            found.append(
                FieldProblem(f"{where}.region", "must lie inside the frame and have an area")
            )
        if not 0 <= mask.start < mask.end < math.inf:
            found.append(FieldProblem(where, "must start at 0 or later and end after its start"))
        if tier.model is not None and mask.type != REMOVE_TEXT:
            found.append(FieldProblem(f"{where}.type", "this tier takes remove_only_ocr alone"))
        if tier.max_share is not None and not decimal6((x1 - x0) * (y1 - y0)) < tier.max_share:
            found.append(
                FieldProblem(f"{where}.region", f"must be below {tier.max_share:.0%} of it")
            )
    if tier.mode is not None and tier.mode != mode:
        found.append(FieldProblem("mode", f"this tier works in mode {tier.mode} only"))
    if tier.model is not None and language != "all":
        found.append(FieldProblem("language", "this tier takes all languages only"))
    if tier.max_masks is not None and len(masks) > tier.max_masks:
        found.append(FieldProblem("masks", f"this tier takes at most {tier.max_masks}"))
    if mode == MODE_REGIONS and all(mask.type == KEEP for mask in masks):
        found.append(FieldProblem("masks", "mode 2 needs at least one area to erase"))
    if mode == MODE_AUTOMATIC and any(mask.type != KEEP for mask in masks):
        found.append(FieldProblem("masks", "mode 1 takes keep areas only"))
    return found


def _mask(mask: Mask) -> dict[str, Any]:
    x0, y0, x1, y1 = (decimal6(value) for value in mask.region)
    return {
        "type": mask.type,
        "start": decimal6(mask.start),
        "end": decimal6(mask.end),
        # Clockwise from the top left.
        "region": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]],
    }


def identity(value: object) -> str | None:
    """An id as text: live responses have numbers, the vendor's documents have strings."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).strip() or None


def _moment(value: object) -> datetime | None:
    milliseconds = number(value)
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000.0, UTC)
    except (ValueError, OverflowError, OSError):
        return None
