"""The request of a job and its check, which names every problem in one error.

`check_request` takes raw JSON or validated models and returns a `JobRequest`, or raises
`RequestRefused` with every problem. Nothing here uses the network; `pro_video.request.rules_files`
checks the same request against its files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from pro_video.core.job_warning import JobWarning
from pro_video.request import limits
from pro_video.request.models import (
    AnnotationArea,
    InpaintingOptions,
    LipSyncOptions,
    RequestModel,
    Segment,
)
from pro_video.request.problems import Problems, read_leniently
from pro_video.request.rules_areas import check_area_list
from pro_video.request.rules_segments import (
    check_lip_sync,
    check_segments,
    check_source,
    check_text,
)
from pro_video.request.touching_segments import Touching, keep_apart

M = TypeVar("M", bound=BaseModel)


class JobRequest(RequestModel):
    """A whole job, checked by `check_request`, with its segments in the user's order.

    ``warnings`` name changes and possible surprises.
    """

    video: str = Field(
        title="Video",
        description="The video: s3://bucket/key, an https:// link to the file, or an absolute path "
        "where the worker allows local files.",
    )
    segments: tuple[Segment, ...] = Field(
        title="Segments", description="Time ranges of the video and the audio that replaces each."
    )
    annotation_areas: tuple[AnnotationArea, ...] = Field(
        (),
        title="Annotation areas",
        description="Where to erase everything, erase text, or protect; none means lip-sync only.",
    )
    lip_sync: LipSyncOptions = Field(
        LipSyncOptions(), title="Lip-sync", description="Options of the lip-sync."
    )
    inpainting: InpaintingOptions = Field(
        InpaintingOptions(), title="Text removal", description="Options of the text removal."
    )
    display_name: str | None = Field(
        None, title="Name", description="A name for the job, up to 200 characters."
    )
    warnings: SkipJsonSchema[tuple[JobWarning, ...]] = ()

    @property
    def audios(self) -> tuple[str, ...]:
        """The distinct audios, in the order of time; so the job's copies are numbered."""
        in_time = sorted(self.segments, key=lambda segment: segment.start)
        return tuple(dict.fromkeys(segment.audio for segment in in_time))


class InpaintingRequest(RequestModel):
    """Text removal alone: a video and its annotation areas."""

    video: str
    annotation_areas: tuple[AnnotationArea, ...]
    inpainting: InpaintingOptions = InpaintingOptions()
    warnings: tuple[JobWarning, ...] = ()


def check_request(
    raw: Mapping[str, object] | JobRequest,
    *,
    max_segments: int,
    allow_local_files: bool,
    touching: Touching = "trim",
) -> JobRequest:
    """The checked request.

    Args:
        raw: the fields of `JobRequest`, each as raw JSON data or as a model.
        max_segments: segments allowed in one job.
        allow_local_files: may a source be a path on this machine?
        touching: handling of segments that touch; `rules_files.check_media` trims.

    Raises:
        RequestRefused: with every problem at once, wrong types and broken rules together.
    """
    found = Problems()
    given = _fields_of(raw, found)
    video, name = _text_of(given, "video", found), _text_of(given, "display_name", found)
    segments = _list_of(Segment, given.get("segments"), "segments", found)
    areas = _list_of(AnnotationArea, given.get("annotation_areas"), "annotation_areas", found)
    lip_sync = _one_of(LipSyncOptions, given.get("lip_sync"), "lip_sync", found)
    inpainting = _one_of(InpaintingOptions, given.get("inpainting"), "inpainting", found)

    check_source(video, "video", found, local=allow_local_files)
    check_text(name, "display_name", limits.MAX_NAME, found)
    if segments is not None:
        check_segments(
            segments,
            found,
            at_most=max_segments,
            local=allow_local_files,
            model=lip_sync.model if lip_sync is not None else None,
        )
    check_lip_sync(lip_sync, found)
    if areas:
        check_area_list(areas, inpainting, found)
    elif areas is not None and inpainting is not None and inpainting.quality == "pro_full":
        found.add(
            "inpainting.quality",
            "areas_missing",
            "asks for text removal in the whole frame, but there are no annotation areas, so no "
            "text would be removed; give one erase_text area of the whole frame, or leave the "
            "quality at basic",
        )
    # Checked only: the user's times stay until the files are known.
    keep_apart(segments or (), limits.MIN_GAP, touching, found, [])
    found.raise_if_any()
    return JobRequest(
        video=(video or "").strip(),
        segments=tuple(segment for segment in segments or () if segment),
        annotation_areas=tuple(areas or ()),
        lip_sync=lip_sync or LipSyncOptions(),
        inpainting=inpainting or InpaintingOptions(),
        display_name=name,
        warnings=raw.warnings if isinstance(raw, JobRequest) else (),
    )


def check_inpainting_request(
    video: object, areas: Sequence[object], options: object = None, *, allow_local_files: bool
) -> InpaintingRequest:
    """The checked request of a text removal alone; it has at least one area.

    Raises:
        RequestRefused: with every problem at once.
    """
    found = Problems()
    source = _text_of({"video": video}, "video", found)
    check_source(source, "video", found, local=allow_local_files)
    read = _list_of(AnnotationArea, areas, "annotation_areas", found)
    inpainting = _one_of(InpaintingOptions, options, "inpainting", found)
    if read:
        check_area_list(read, inpainting, found)
    elif read is not None:
        found.add(
            "annotation_areas",
            "areas_missing",
            "is empty; give at least one area, for example one erase_text area of the whole frame",
        )
    found.raise_if_any()
    return InpaintingRequest(
        video=(source or "").strip(),
        annotation_areas=tuple(area for area in read or () if area),
        inpainting=inpainting or InpaintingOptions(),
    )


def _fields_of(raw: object, found: Problems) -> dict[str, object]:
    if isinstance(raw, JobRequest):
        return {name: getattr(raw, name) for name in JobRequest.model_fields}
    if not isinstance(raw, Mapping):
        found.add("request", "wrong_type", "must be an object with named fields")
        return {}
    known = set(JobRequest.model_fields) - {"warnings"}
    for name in raw:
        if name not in known:
            found.add(
                str(name)[: limits.MAX_LABEL],
                "unknown_field",
                f"is not a field of this request; use {', '.join(sorted(known))}",
            )
    return {name: raw[name] for name in known if name in raw}


def _text_of(given: Mapping[str, object], name: str, found: Problems) -> str | None:
    value = given.get(name)
    if value is None and name == "video":
        found.add(name, "missing", "is missing; give the address of the video")
    elif value is not None and not isinstance(value, str):
        found.add(name, "wrong_type", "must be text")
    return value if isinstance(value, str) else None


def _list_of(model: type[M], raw: object, name: str, found: Problems) -> list[M | None] | None:
    """The models of a list; None for an unreadable entry, or for an unreadable list."""
    if raw is None:
        return []
    if isinstance(raw, str | bytes | Mapping) or not isinstance(raw, Sequence):
        found.add(name, "wrong_type", "must be a list")
        return None
    return [
        read_leniently(model, entry, f"{name}[{index}]", found) for index, entry in enumerate(raw)
    ]


def _one_of(model: type[M], raw: object, name: str, found: Problems) -> M | None:
    return model() if raw is None else read_leniently(model, raw, name, found)
