"""Sync.so's wire format (the request's bytes, the Generation), and the estimate of its time.

Source of the wire format: https://sync.so/docs/api-reference and the vendor's SDK 0.3.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from pro_video.core.errors import FieldProblem, RequestRefused
from pro_video.providers.json_fields import decimal6, dumps, fraction, number, text, whole_word
from pro_video.request.limits import TEMPERATURE_MODELS
from pro_video.request.models import SyncMode

PROVIDER: Final = "sync.so"

# Seconds of processing for a second of video, and the fixed part below, fitted to the vendor's
# table for clips of 30 s and 2 min (https://sync.so/docs/product/generation-times).
_SPEEDS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "sync-3": 25.0,
        "lipsync-2-pro": 5.5,
        "lipsync-2": 3.5,
        "lipsync-1.9.0-beta": 1.5,
        "react-1": 3.0,
    }
)
_FIXED_SECONDS: Final = 30.0

_FILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


@dataclass(frozen=True, slots=True)
class AudioInput:
    """A replacement audio: the name that segments refer to, and its link."""

    ref_id: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SegmentInput:
    """A time range of the video and its audio, cropped or whole; seconds.

    ``options`` are those of the range alone, in the vendor's names.
    """

    start: float
    end: float
    ref_id: str
    audio_start: float | None = None
    audio_end: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Generation:
    """A job at Sync.so, as far as its response tells.

    Attributes:
        id: the job's id.
        status: the vendor's word, upper case; see :mod:`pro_video.providers.sync_so.status`.
        created_at: time of the create at the vendor, or None.
        model: the model's name, or "".
        output_url: link to the whole result; signed and short-lived.
        output_duration: seconds, or None.
        error: the vendor's reason; unstable text that may hold links. Redact it before use.
        error_code: the vendor's code, see the table in ``status``.
        progress: 0 … 1, when asked for and known.
        webhook_url: the callback's address, as sent.
        output_file_name: as sent.
        input_urls: links of the inputs, as sent.
        retry_after: the vendor's pause before the next read, seconds; from the response's header.
    """

    id: str
    status: str
    created_at: datetime | None = None
    model: str = ""
    output_url: str | None = field(default=None, repr=False)
    output_duration: float | None = None
    error: str | None = field(default=None, repr=False)
    error_code: str | None = None
    progress: float | None = None
    webhook_url: str | None = field(default=None, repr=False)
    output_file_name: str | None = None
    input_urls: tuple[str, ...] = field(default=(), repr=False)
    retry_after: float | None = None

    @classmethod
    def from_json(cls, data: object, *, retry_after: float | None = None) -> Generation:
        """Read a Generation object; null, "" and {} count as absent.

        Raises:
            ValueError: not an object, or without id or status.
        """
        if not isinstance(data, dict):
            raise ValueError("a generation is a JSON object")
        identifier, status = text(data.get("id")), text(data.get("status"))
        if identifier is None or status is None:
            raise ValueError("a generation has an id and a status")
        inputs = data.get("input")
        return cls(
            id=identifier,
            status=status.strip().upper(),
            created_at=_moment(data.get("createdAt")),
            model=text(data.get("model")) or "",
            output_url=text(data.get("outputUrl")),
            output_duration=number(data.get("outputDuration")),
            error=text(data.get("error")),
            # REST bodies and webhooks spell it differently.
            error_code=text(data.get("errorCode")) or text(data.get("error_code")),
            progress=fraction(number(data.get("progress_percent"))),
            webhook_url=text(data.get("webhookUrl")),
            output_file_name=text(data.get("outputFileName")),
            input_urls=tuple(
                url
                for item in (inputs if isinstance(inputs, list) else [])
                if isinstance(item, dict) and (url := text(item.get("url"))) is not None
            ),
            retry_after=retry_after,
        )

    def summary(self) -> dict[str, Any]:
        """The fields that may be stored and shown: no links, no free text of the vendor."""
        return {
            "id": self.id,
            "status": self.status,
            "created_at": self.created_at.isoformat() if self.created_at else None,
            "model": self.model,
            "output_duration": self.output_duration,
            "error_code": self.error_code,
        }


def planted(*tokens: str) -> Callable[[Generation], bool]:
    """A function that finds generations with one of ``tokens``, planted in an attempt's request.

    A token counts as a whole word in the query or path of the webhook's address or in the path of
    an input's link, and as the output's file name: the API has no field for a client's reference.

    Raises:
        ValueError: a token is shorter than 8 characters, which other jobs may have by chance.
    """
    word = whole_word(*tokens)

    def match(generation: Generation) -> bool:
        if generation.output_file_name in tokens:
            return True
        if any(word.search(unquote(urlsplit(url).path)) for url in generation.input_urls):
            return True
        if generation.webhook_url is None:
            return False
        address = urlsplit(generation.webhook_url)
        values = [value for _, value in parse_qsl(address.query, keep_blank_values=True)]
        return any(word.search(part) for part in (unquote(address.path), *values))

    return match


def build_generation_request(
    *,
    video_url: str,
    audios: Sequence[AudioInput],
    segments: Sequence[SegmentInput],
    model: str,
    sync_mode: str,
    temperature: float | None,
    output_file_name: str,
    webhook_url: str | None = None,
    speaker: Mapping[str, Any] | None = None,
    occlusion_detection: bool = False,
) -> bytes:
    """The body of a create, the same bytes for the same arguments.

    The sync mode is always explicit: the API's default differs between requests with and without
    segments, and most modes change the length of the video. It goes to ``options``; the vendor's
    SDK does not know a segment's ``optionsOverride``, which only a segment with options of its own
    has. A temperature is sent only to the models that use one. Without segments the one audio is
    for the whole video. ``speaker`` is from :func:`speaker.speaker_detection`.

    Raises:
        RequestRefused: the arguments break a rule of the API; all problems at once.
    """
    problems = list(_problems(video_url, audios, segments, model, sync_mode, temperature))
    if not _FILE_NAME.fullmatch(output_file_name):
        problems.append(
            FieldProblem(
                "output_file_name", "must be 1 to 255 letters, digits, hyphens or underscores"
            )
        )
    if problems:
        raise RequestRefused(problems, provider=PROVIDER)
    inputs: list[dict[str, Any]] = [{"type": "video", "url": video_url}]
    for audio in audios:
        reference = {"refId": audio.ref_id} if segments else {}
        inputs.append({"type": "audio", "url": audio.url, **reference})
    options: dict[str, Any] = {"sync_mode": sync_mode}
    if temperature is not None and model in TEMPERATURE_MODELS:
        options["temperature"] = decimal6(temperature)
    if occlusion_detection:
        options["occlusion_detection_enabled"] = True
    if speaker is not None:
        options["active_speaker_detection"] = dict(speaker)
    body: dict[str, Any] = {"model": model, "input": inputs, "options": options}
    if segments:
        body["segments"] = [_segment(s) for s in sorted(segments, key=lambda s: (s.start, s.end))]
    body["outputFileName"] = output_file_name
    if webhook_url is not None:
        body["webhookUrl"] = webhook_url
    return dumps(body).encode()


def expected_seconds(model: str, clip_seconds: float) -> float:
    """Usual processing time of a clip in seconds; an unknown model counts as the slowest one."""
    return _FIXED_SECONDS + _SPEEDS.get(model, max(_SPEEDS.values())) * max(0.0, clip_seconds)


def _problems(
    video_url: str,
    audios: Sequence[AudioInput],
    segments: Sequence[SegmentInput],
    model: str,
    sync_mode: str,
    temperature: float | None,
) -> list[FieldProblem]:
    found = []
    if not model:
        found.append(FieldProblem("model", "must be named"))
    if sync_mode not in get_args(SyncMode):
        found.append(FieldProblem("sync_mode", f"must be one of {', '.join(get_args(SyncMode))}"))
    if temperature is not None and not 0 <= temperature <= 1:
        found.append(FieldProblem("temperature", "must be between 0 and 1"))
    if not video_url:
        found.append(FieldProblem("video_url", "must be a link"))
    if not audios:
        found.append(FieldProblem("audios", "at least one audio is needed"))
    if not segments and len(audios) > 1:
        found.append(
            FieldProblem("segments", "several audios need segments that say where each goes")
        )
    names = [audio.ref_id for audio in audios]
    if len(set(names)) != len(names):
        found.append(FieldProblem("audios", "each ref_id must be unique"))
    for index, audio in enumerate(audios):
        if not audio.ref_id or not audio.url:
            found.append(FieldProblem(f"audios[{index}]", "needs a ref_id and a link"))
    last_end = -math.inf
    for index, segment in sorted(enumerate(segments), key=lambda item: item[1].start):
        where = f"segments[{index}]"
        # Written so that NaN fails each comparison.
        if not 0 <= segment.start < segment.end < math.inf:
            found.append(FieldProblem(where, "must start at 0 or later and end after its start"))
        if segment.start < last_end:
            found.append(FieldProblem(where, "overlaps another segment"))
        last_end = max(last_end, segment.end)
        if segment.ref_id not in names:
            found.append(FieldProblem(f"{where}.ref_id", "names no audio of this request"))
        crop = (segment.audio_start, segment.audio_end)
        if (crop[0] is None) != (crop[1] is None):
            found.append(FieldProblem(where, "audio_start and audio_end go together"))
        elif crop[0] is not None and crop[1] is not None and not 0 <= crop[0] < crop[1] < math.inf:
            found.append(FieldProblem(where, "audio_end must be after audio_start"))
    return found


def _segment(segment: SegmentInput) -> dict[str, Any]:
    audio: dict[str, Any] = {"refId": segment.ref_id}
    if segment.audio_start is not None and segment.audio_end is not None:
        audio["startTime"] = decimal6(segment.audio_start)
        audio["endTime"] = decimal6(segment.audio_end)
    body = {
        "startTime": decimal6(segment.start),
        "endTime": decimal6(segment.end),
        "audioInput": audio,
    }
    return body | ({"optionsOverride": dict(segment.options)} if segment.options else {})


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
