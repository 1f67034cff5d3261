"""The rules of sources, segments and lip-sync options before files are known.

Each function reports its problems and goes on, so that one error names everything. Values of wrong
types are NaN or None here; comparisons with NaN are false, so they cause no second problem.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from pro_video.request import limits
from pro_video.request.models import LipSyncModel, LipSyncOptions, Segment, Speaker
from pro_video.request.problems import Problems

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def check_source(source: str | None, field: str, found: Problems, *, local: bool) -> None:
    """Check a source: an s3:// or http(s):// address, or, with ``local``, an absolute path.

    Messages never repeat the text, which may be a presigned link.
    """
    if source is None:
        return
    if not source.strip():
        found.add(field, "source_missing", "is empty; give an s3:// or https:// address")
    elif len(source) > limits.MAX_SOURCE:
        found.add(
            field, "source_too_long", f"is longer than {limits.MAX_SOURCE} characters; shorten it"
        )
    elif _CONTROL.search(source):
        found.add(field, "source_characters", "contains control characters; remove them")
    elif "://" in source or re.match(r"(s3|https?|file|data):", source, re.IGNORECASE):
        _check_address(source, field, found)
    elif not local:
        found.add(
            field,
            "source_local",
            "is not an s3:// or https:// address, and this worker takes no local files; upload the "
            "file first or set PRO_VIDEO_ALLOW_LOCAL_FILES=true on the worker",
        )
    elif not source.startswith("/"):
        found.add(field, "source_relative", "is a relative path; give the absolute path")
    elif ".." in source.split("/"):
        found.add(field, "source_relative", "contains '..'; give the path without it")


def _check_address(source: str, field: str, found: Problems) -> None:
    try:
        parts = urlsplit(source)
        host, user, _ = parts.hostname, parts.username or parts.password, parts.port
    except ValueError:
        found.add(field, "source_malformed", "is not a valid address; copy it again")
        return
    scheme = parts.scheme.lower()
    if scheme == "s3":
        key = source.split("/", 3)[3] if source.count("/") >= 3 else ""
        if not _BUCKET.fullmatch(parts.netloc) or not key or len(key.encode()) > 1024:
            found.add(
                field, "source_malformed", "is not of the form s3://bucket/key; give both parts"
            )
    elif scheme not in {"http", "https"}:
        found.add(
            field,
            "source_scheme",
            "has a scheme other than s3, https or http; give an s3:// or https:// address, or the "
            "plain absolute path of a local file",
        )
    elif not host or any(character.isspace() for character in source):
        found.add(field, "source_malformed", "is not a valid address; copy it again")
    elif user is not None or "@" in parts.netloc:
        found.add(
            field,
            "source_credentials",
            "contains a user name or password; use a presigned link or an s3:// address",
        )


def check_text(text: str | None, field: str, limit: int, found: Problems) -> None:
    """Check a short name: at most ``limit`` printable characters."""
    if text is None:
        return
    if len(text) > limit:
        found.add(field, "text_too_long", f"is longer than {limit} characters; shorten it")
    if _CONTROL.search(text):
        found.add(field, "text_characters", "contains control characters; remove them")


def check_segments(
    segments: Sequence[Segment | None],
    found: Problems,
    *,
    at_most: int,
    local: bool,
    model: LipSyncModel | None,
) -> None:
    """Check number, times, crops, labels, options and sources of the segments, then overlaps."""
    if not segments:
        found.add("segments", "segments_missing", "is empty; give at least one segment")
    if len(segments) > at_most:
        found.add(
            "segments",
            "segments_too_many",
            f"has {len(segments)} segments and {at_most} are allowed; split the job, or raise "
            "PRO_VIDEO_MAX_SEGMENTS on the worker",
        )
    for index, segment in enumerate(segments):
        if segment is None:
            continue
        path = f"segments[{index}]"
        check_range(segment.start, segment.end, path, found)
        if 0 < segment.end - segment.start < limits.MIN_SEGMENT - limits.TIME_TOLERANCE:
            found.add(
                f"{path}.end",
                "segment_too_short",
                f"is less than {limits.MIN_SEGMENT} s after the start, and Sync.so refuses such "
                "short segments; make it longer or merge it with its neighbour",
            )
        check_source(segment.audio, f"{path}.audio", found, local=local)
        _check_crop(segment, path, found)
        check_text(segment.label, f"{path}.label", limits.MAX_LABEL, found)
        check_speaker(segment.active_speaker, f"{path}.active_speaker", found)
        _check_temperature(segment.temperature, f"{path}.temperature", model, found)
    _check_space(segments, found)


def _check_crop(segment: Segment, path: str, found: Problems) -> None:
    start, end = segment.audio_start, segment.audio_end
    if start is None and end is None:
        return
    if start is None or end is None:
        missing = "audio_start" if start is None else "audio_end"
        other = "audio_end" if start is None else "audio_start"
        found.add(
            f"{path}.{missing}",
            "crop_incomplete",
            f"is missing while {other} is given; give both, or neither to use the whole audio",
        )
    if start is not None:
        check_time(start, f"{path}.audio_start", found)
    if end is not None:
        check_time(end, f"{path}.audio_end", found)
    if start is not None and end is not None and end <= start:
        found.add(
            f"{path}.audio_end",
            "crop_empty",
            "is not after audio_start; an audio range needs a length",
        )


def _check_space(segments: Sequence[Segment | None], found: Problems) -> None:
    """Refuse overlaps of segments in any order."""
    ranges = sorted(
        (segment.start, segment.end, index)
        for index, segment in enumerate(segments)
        if segment is not None and segment.start < segment.end < math.inf
    )
    latest: tuple[float, int] | None = None
    for start, end, index in ranges:
        if latest is not None:
            before_end, before = latest
            if start < before_end - limits.TIME_TOLERANCE:
                found.add(
                    f"segments[{index}].start",
                    "segments_overlap",
                    f"lies before the end of segments[{before}] ({before_end:g} s); "
                    "segments must not overlap",
                )
        if latest is None or end > latest[0]:
            latest = (end, index)


def check_lip_sync(options: LipSyncOptions | None, found: Problems) -> None:
    """Refuse options that the model ignores."""
    if options is None:
        return
    _check_temperature(options.temperature, "lip_sync.temperature", options.model, found)
    check_speaker(options.active_speaker, "lip_sync.active_speaker", found)
    if options.occlusion_detection and options.model == "react-1":
        found.add(
            "lip_sync.occlusion_detection",
            "option_ignored",
            "is ignored by react-1; leave it out, or use lipsync-2 or lipsync-2-pro",
        )


def _check_temperature(
    value: float | None, field: str, model: LipSyncModel | None, found: Problems
) -> None:
    if value is None or (math.isnan(value) and found.has(field)):
        return
    if not 0 <= value <= 1:
        found.add(field, "temperature_range", "must be a number from 0 to 1")
    if model is not None and model not in limits.TEMPERATURE_MODELS:
        found.add(
            field,
            "option_ignored",
            f"is ignored by {model}; leave it out, or use lipsync-2 or lipsync-2-pro",
        )


def check_speaker(speaker: Speaker | None, path: str, found: Problems) -> None:
    """Check that a choice of the speaker has the numbers of its method, inside the frame."""
    if speaker is None or speaker.method is None:
        return
    needed = {"point": {"x", "y"}, "box": {"x", "y", "width", "height"}}.get(speaker.method, set())
    allowed = needed | ({"at"} if speaker.method == "point" else set())
    for name in ("x", "y", "width", "height", "at"):
        value, field = getattr(speaker, name), f"{path}.{name}"
        if value is None:
            if name in needed:
                message = f"is missing; the method {speaker.method} needs it"
                found.add(field, "speaker_incomplete", message)
        elif name not in allowed:
            message = f"is ignored by the method {speaker.method}; leave it out"
            found.add(field, "option_ignored", message)
        elif name == "at":
            check_time(value, field, found)
        elif not 0 <= value <= 1 and not (math.isnan(value) and found.has(field)):
            found.add(field, "speaker_outside", "must be a fraction of the frame, from 0 to 1")
    for side, size in (("x", "width"), ("y", "height")):
        start, length = getattr(speaker, side), getattr(speaker, size)
        if speaker.method != "box" or start is None or length is None:
            continue
        if length < limits.MIN_REGION_SIDE or start + length > 1 + limits.TIME_TOLERANCE:
            message = "must lie inside the frame, and be at least 0.001 of it wide and high"
            found.add(f"{path}.{size}", "speaker_outside", message)


def check_range(start: float, end: float | None, path: str, found: Problems) -> None:
    """Check a time range: finite, not negative, with a length; open without an end."""
    check_time(start, f"{path}.start", found)
    if end is None:
        return
    check_time(end, f"{path}.end", found)
    if end <= start:
        found.add(
            f"{path}.end",
            "range_empty",
            f"is not after the start ({start:g} s); correct one of them",
        )


def check_time(value: float, field: str, found: Problems) -> None:
    """Check a time in seconds: finite and not negative."""
    if not math.isfinite(value):
        not_finite(field, found)
    elif value < 0:
        found.add(field, "negative_time", "is negative; times begin at 0 s")


def not_finite(field: str, found: Problems) -> None:
    """Report NaN or infinity, once."""
    # A field of the wrong type is NaN here and has its problem already.
    if not found.has(field):
        found.add(field, "not_finite", "is not a finite number; give a plain number")
