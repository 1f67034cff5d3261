"""Translates a client's request into the product's, and problems back into its field names.

The seed's names hold outside (``segments_data``, ``startTime``, ``audioInput.refId``, ``effects``,
``erasure``); inside it is :class:`pro_video.request.check.JobRequest`. Every problem is told in the
wire's names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from gateway.base.problems import FieldProblem, invalid
from pro_video.core.errors import RequestRefused
from pro_video.core.settings import get_settings
from pro_video.judging.verdict import OnDoubt
from pro_video.request.check import JobRequest, check_request

KINDS = {"erasure": "erase", "text": "erase_text", "protection": "protect"}
LONGEST_REF = 200
# Far above any real request; keeps parsing and Prefect's parameters small.
LONGEST_JSON = 128 * 1024

_SEGMENT_KEYS = frozenset({"startTime", "endTime", "audioInput", "label"})
_AUDIO_KEYS = frozenset({"refId", "startTime", "endTime"})
_EFFECT_KEYS = frozenset({"type", "startTime", "endTime", "region"})
_REGION_KEYS = ("x", "y", "width", "height")
_LIP_SYNC_OPTIONS = frozenset({"model", "sync_mode", "temperature"})
_INPAINTING_OPTIONS = frozenset({"language", "resolution", "quality"})
_JOB_OPTIONS = frozenset({"on_doubt"})
# Stands for an audio that has a problem of its own, so that the other rules are still checked.
_PLACEHOLDER = "s3://placeholder/audio"

_NAMES = (
    (re.compile(r"^segments\b"), "segments_data"),
    (re.compile(r"^annotation_areas\b"), "effects"),
    (re.compile(r"^(?:lip_sync|inpainting)\b"), "options"),
    (re.compile(r"\.audio_start$"), ".audioInput.startTime"),
    (re.compile(r"\.audio_end$"), ".audioInput.endTime"),
    (re.compile(r"\.audio$"), ".audioInput.refId"),
    (re.compile(r"\.start$"), ".startTime"),
    (re.compile(r"\.end$"), ".endTime"),
    (re.compile(r"\.kind$"), ".type"),
)


@dataclass
class Wire:
    """A request as the client wrote it; lists and options are raw JSON data.

    Attributes:
        segments: ``segments_data``.
        effects: None or the annotation areas.
        display_name: a name, or empty.
        options: None or the options of both providers.
        strict: refuse unknown names; the seed's form ignores them, as the seed did.
    """

    segments: object
    effects: object = None
    display_name: object = None
    options: object = None
    strict: bool = True
    problems: list[FieldProblem] = field(default_factory=list)

    def problem(self, name: str, code: str, message: str) -> None:
        """Note a problem; :func:`product_request` raises all of them together."""
        self.problems.append(FieldProblem(field=name, code=code, message=message))


def loads(text: bytes, name: str) -> Any:
    """JSON, also when it was encoded twice; empty text is None.

    Raises:
        ProblemError: 422, naming ``name``.
    """
    try:
        value: Any = text.decode("utf-8").strip() or None
        for _ in range(2):
            if isinstance(value, str):
                value = json.loads(value)
        # Lone surrogates pass the parser, but nothing behind it.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise invalid(
            [FieldProblem(field=name, code="not_json", message="is not valid JSON in UTF-8")]
        ) from None
    return value


def distinct_refs(segments: object) -> list[str]:
    """The refIds in the order in which the segments first name them."""
    found: dict[str, None] = {}
    for segment in segments if isinstance(segments, list) else []:
        audio = segment.get("audioInput") if isinstance(segment, Mapping) else None
        ref = audio.get("refId") if isinstance(audio, Mapping) else None
        if isinstance(ref, str) and ref:
            found[ref] = None
    return list(found)


def product_request(wire: Wire, *, video: str, audio_of: Callable[[str], str | None]) -> JobRequest:
    """The checked request.

    Args:
        wire: the client's request.
        video: address of the video.
        audio_of: address of the audio of a refId; None when there is none.

    Raises:
        ProblemError: 422 with every problem at once.
    """
    raw = {
        "video": video,
        "segments": _each(wire.segments, lambda n, raw: _segment(wire, n, raw, audio_of)),
        "annotation_areas": _each(wire.effects, lambda n, raw: _effect(wire, n, raw)),
        "display_name": None if wire.display_name == "" else wire.display_name,
        **_options(wire),
    }
    try:
        request = check_request(
            raw,
            max_segments=get_settings().max_segments,
            allow_local_files=False,
            touching=get_settings().touching_segments,
        )
    except RequestRefused as refused:
        wire.problems.extend(
            FieldProblem(field=wire_name(found.field), code=found.code, message=found.message)
            for found in refused.problems
        )
    if wire.problems:
        raise invalid(wire.problems)
    return request


def wire_name(path: str) -> str:
    """A field's path in the wire's names: ``segments[1].end`` is ``segments_data[1].endTime``."""
    for pattern, replacement in _NAMES:
        path = pattern.sub(replacement, path)
    return path


def flow_parameters(wire: Wire, request: JobRequest) -> dict[str, Any]:
    """Parameters of the flow; segments in the client's order, so that later errors name its
    index.

    Args:
        wire: the client's request.
        request: from :func:`product_request`.
    """
    options = wire.options if isinstance(wire.options, Mapping) else {}
    placed = sorted(zip(request.positions, request.segments, strict=True), key=lambda pair: pair[0])
    return {
        "video": request.video,
        "segments": [segment.model_dump(mode="json") for _, segment in placed],
        "annotation_areas": [area.model_dump(mode="json") for area in request.annotation_areas],
        "display_name": request.display_name or "",
        **request.lip_sync.model_dump(mode="json"),
        **request.inpainting.model_dump(mode="json"),
        **{name: value for name, value in options.items() if name in _JOB_OPTIONS},
    }


def _each(raw: object, convert: Callable[[int, Mapping[str, Any]], object]) -> object:
    if not isinstance(raw, list):
        return raw
    return [
        convert(number, entry) if isinstance(entry, Mapping) else entry
        for number, entry in enumerate(raw)
    ]


def _unknown(wire: Wire, path: str, raw: Mapping[str, Any], known: Sequence[str]) -> None:
    if wire.strict:
        for name in raw:
            if name not in known:
                shown = str(name)[:LONGEST_REF]
                wire.problem(f"{path}.{shown}", "unknown_field", "is not a known field; remove it")


def _segment(
    wire: Wire, number: int, raw: Mapping[str, Any], audio_of: Callable[[str], str | None]
) -> dict[str, Any]:
    path = f"segments_data[{number}]"
    _unknown(wire, path, raw, sorted(_SEGMENT_KEYS))
    segment = _renamed(raw, {"startTime": "start", "endTime": "end", "label": "label"})
    audio = raw.get("audioInput")
    segment["audio"] = _PLACEHOLDER
    if not isinstance(audio, Mapping):
        wire.problem(f"{path}.audioInput", "missing", "must be an object with a refId")
        return segment
    _unknown(wire, f"{path}.audioInput", audio, sorted(_AUDIO_KEYS))
    segment |= _renamed(audio, {"startTime": "audio_start", "endTime": "audio_end"})
    ref = audio.get("refId")
    if not isinstance(ref, str) or not 0 < len(ref) <= LONGEST_REF:
        wire.problem(
            f"{path}.audioInput.refId", "wrong_type", f"must be text of 1 to {LONGEST_REF} letters"
        )
        return segment
    source = audio_of(ref)
    if source is None:
        wire.problem(f"{path}.audioInput.refId", "audio_missing", "names no audio of this request")
    else:
        segment["audio"] = source
    return segment


def _effect(wire: Wire, number: int, raw: Mapping[str, Any]) -> dict[str, Any]:
    path = f"effects[{number}]"
    if wire.strict:
        _unknown(wire, path, raw, sorted(_EFFECT_KEYS))
    else:
        # The seed's editor has also sent the times, in seconds, under these names. A time of 0
        # is a time.
        raw = {
            **raw,
            **{
                name: raw[other]
                for name, other in (("startTime", "startFrame"), ("endTime", "endFrame"))
                if raw.get(name) is None and raw.get(other) is not None
            },
        }
    area = _renamed(raw, {"startTime": "start", "endTime": "end"})
    if area.get("start", 0.0) is None:
        del area["start"]
    kind = raw.get("type")
    area["kind"] = KINDS.get(kind, "erase") if isinstance(kind, str) else "erase"
    if not isinstance(kind, str) or kind not in KINDS:
        wire.problem(f"{path}.type", "unknown_choice", f"must be one of {', '.join(sorted(KINDS))}")
    region = raw.get("region")
    if isinstance(region, Mapping) and not wire.strict:
        region = {name: region[name] for name in _REGION_KEYS if name in region}
    area["region"] = region
    return area


def _options(wire: Wire) -> dict[str, object]:
    if wire.options is None:
        return {}
    if not isinstance(wire.options, Mapping):
        wire.problem("options", "wrong_type", "must be an object with named fields")
        return {}
    known = _LIP_SYNC_OPTIONS | _INPAINTING_OPTIONS | _JOB_OPTIONS
    _unknown(wire, "options", wire.options, sorted(known))
    if wire.options.get("on_doubt", "deliver") not in get_args(OnDoubt):
        choices = ", ".join(get_args(OnDoubt))
        wire.problem("options.on_doubt", "unknown_choice", f"must be one of {choices}")
    return {
        "lip_sync": {n: v for n, v in wire.options.items() if n in _LIP_SYNC_OPTIONS},
        "inpainting": {n: v for n, v in wire.options.items() if n in _INPAINTING_OPTIONS},
    }


def _renamed(raw: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {ours: raw[theirs] for theirs, ours in names.items() if theirs in raw}
