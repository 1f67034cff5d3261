"""Translates a client's request into the product's, and problems back into the client's names.

The names of both are in :mod:`gateway.jobs.request_models`; the product's request is
:class:`pro_video.request.check.JobRequest`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel

from gateway.base.problems import FieldProblem, invalid
from gateway.jobs.request_models import (
    KINDS,
    LONGEST_REF,
    AudioInput,
    EffectBody,
    OptionsBody,
    RegionBody,
    SegmentBody,
    product_names,
)
from pro_video.core.errors import RequestRefused
from pro_video.core.settings import get_settings
from pro_video.judging.verdict import OnDoubt
from pro_video.request.check import JobRequest, check_request
from pro_video.request.models import InpaintingOptions, LipSyncOptions

PLACEHOLDER = "s3://placeholder/source"
"""Stands for a source that has a problem of its own, so that the other rules are still checked."""

_AUDIO, _SEGMENT, _EFFECT = (product_names(one) for one in (AudioInput, SegmentBody, EffectBody))
_REQUEST_NAMES = (
    (re.compile(r"^segments\b"), "segments_data"),
    (re.compile(r"^annotation_areas\b"), "effects"),
    (re.compile(r"^(?:lip_sync|inpainting)\b"), "options"),
    *(
        (re.compile(rf"\.{product}$"), f".{name}")
        for names, path in ((_AUDIO, "audioInput."), (_SEGMENT, ""), (_EFFECT, ""))
        for name, product in ((f"{path}{one}", names[one]) for one in names)
    ),
)


@dataclass
class ClientRequest:
    """A request as the client wrote it; lists and options are unchecked JSON data.

    Attributes:
        segments: ``segments_data``.
        effects: None or the annotation areas.
        display_name: None or a name.
        options: None or the options.
        strict: refuse unknown names, which the editor's form ignores.
        problems: found so far.
    """

    segments: object
    effects: object = None
    display_name: object = None
    options: object = None
    strict: bool = True
    problems: list[FieldProblem] = field(default_factory=list)

    def problem(self, name: str, code: str, message: str) -> None:
        """Add a problem; :func:`product_request` raises all of them together."""
        self.problems.append(FieldProblem(field=name, code=code, message=message))

    def refuse_unknown(self, path: str, raw: Mapping[str, Any], model: type[BaseModel]) -> None:
        """Add a problem for each name that a model does not have."""
        for name in raw if self.strict else ():
            if name not in model.model_fields:
                shown = f"{path}{str(name)[:LONGEST_REF]}"
                self.problem(shown, "unknown_field", "is not a known field; remove it")


def distinct_refs(segments: object) -> list[str]:
    """The refIds in the order in which the segments first name them."""
    found: dict[str, None] = {}
    for segment in segments if isinstance(segments, list) else []:
        audio = segment.get("audioInput") if isinstance(segment, Mapping) else None
        ref = audio.get("refId") if isinstance(audio, Mapping) else None
        if isinstance(ref, str) and ref:
            found[ref] = None
    return list(found)


def product_request(
    client: ClientRequest, *, video: str, audio_of: Callable[[str], str | None]
) -> JobRequest:
    """The checked request.

    Args:
        client: the client's request.
        video: address of the video.
        audio_of: address of the audio of a refId; None when there is none.

    Raises:
        ProblemError: 422 with every problem at once.
    """
    raw = {
        "video": video,
        "segments": _each(client.segments, lambda n, raw: _segment(client, n, raw, audio_of)),
        "annotation_areas": _each(client.effects, lambda n, raw: _area(client, n, raw)),
        "display_name": None if client.display_name == "" else client.display_name,
        **_options(client),
    }
    try:
        request = check_request(
            raw,
            max_segments=get_settings().max_segments,
            allow_local_files=False,
            touching=get_settings().touching_segments,
        )
    except RequestRefused as refused:
        for found in refused.problems:
            client.problem(request_name(found.field), found.code, found.message)
    if client.problems:
        raise invalid(client.problems)
    return request


def request_name(path: str) -> str:
    """The request's path of a product's field: ``segments[1].end`` is
    ``segments_data[1].endTime``."""
    for pattern, replacement in _REQUEST_NAMES:
        path = pattern.sub(replacement, path)
    return path


def flow_parameters(client: ClientRequest, request: JobRequest) -> dict[str, Any]:
    """The parameters of the flow.

    Args:
        client: the client's request.
        request: from :func:`product_request`.
    """
    options = client.options if isinstance(client.options, Mapping) else {}
    return {
        "video": request.video,
        "segments": [segment.model_dump(mode="json") for segment in request.segments],
        "annotation_areas": [area.model_dump(mode="json") for area in request.annotation_areas],
        "display_name": request.display_name or "",
        **request.lip_sync.model_dump(mode="json"),
        **request.inpainting.model_dump(mode="json"),
        **{name: options[name] for name in ("on_doubt", "max_cost_usd") if name in options},
    }


def _each(raw: object, convert: Callable[[int, Mapping[str, Any]], object]) -> object:
    if not isinstance(raw, list):
        return raw
    return [
        convert(number, entry) if isinstance(entry, Mapping) else entry
        for number, entry in enumerate(raw)
    ]


def _segment(
    client: ClientRequest,
    number: int,
    raw: Mapping[str, Any],
    audio_of: Callable[[str], str | None],
) -> dict[str, Any]:
    path = f"segments_data[{number}]."
    client.refuse_unknown(path, raw, SegmentBody)
    segment = _renamed(raw, _SEGMENT)
    audio = raw.get("audioInput")
    if not isinstance(audio, Mapping):
        client.problem(f"{path}audioInput", "missing", "must be an object with a refId")
        return segment | {"audio": PLACEHOLDER}
    path += "audioInput."
    client.refuse_unknown(path, audio, AudioInput)
    segment |= _renamed(audio, _AUDIO)
    ref, source = audio.get("refId"), None
    if not isinstance(ref, str) or not 0 < len(ref) <= LONGEST_REF:
        message = f"must be text of 1 to {LONGEST_REF} letters"
        client.problem(f"{path}refId", "wrong_type", message)
    elif (source := audio_of(ref)) is None:
        client.problem(f"{path}refId", "audio_missing", "names no audio of this request")
    return segment | {"audio": source or PLACEHOLDER}


def _area(client: ClientRequest, number: int, raw: Mapping[str, Any]) -> dict[str, Any]:
    path = f"effects[{number}]."
    client.refuse_unknown(path, raw, EffectBody)
    region = raw.get("region")
    if not client.strict:
        # The editor has also sent the times, in seconds, as startFrame and endFrame. A time of 0 is
        # a time.
        raw = dict(raw)
        for name, other in (("startTime", "startFrame"), ("endTime", "endFrame")):
            if raw.get(name) is None and raw.get(other) is not None:
                raw[name] = raw[other]
        if isinstance(region, Mapping):
            region = {name: region[name] for name in RegionBody.model_fields if name in region}
    area = _renamed(raw, _EFFECT) | {"region": region}
    if area.get("start", 0.0) is None:
        del area["start"]
    kind = raw.get("type")
    area["kind"] = KINDS.get(kind, "erase") if isinstance(kind, str) else "erase"
    if not isinstance(kind, str) or kind not in KINDS:
        message = f"must be one of {', '.join(sorted(KINDS))}"
        client.problem(f"{path}type", "unknown_choice", message)
    return area


def _options(client: ClientRequest) -> dict[str, object]:
    options = client.options
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        client.problem("options", "wrong_type", "must be an object with named fields")
        return {}
    client.refuse_unknown("options.", options, OptionsBody)
    if options.get("on_doubt", "deliver") not in get_args(OnDoubt):
        message = f"must be one of {', '.join(get_args(OnDoubt))}"
        client.problem("options.on_doubt", "unknown_choice", message)
    limit = options.get("max_cost_usd")
    if limit is not None and not (type(limit) in (int, float) and 0 < limit < math.inf):
        client.problem("options.max_cost_usd", "wrong_value", "must be a number of USD above 0")
    return {
        block: {name: options[name] for name in model.model_fields if name in options}
        for block, model in (("lip_sync", LipSyncOptions), ("inpainting", InpaintingOptions))
    }


def _renamed(raw: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {product: raw[name] for name, product in names.items() if name in raw}
