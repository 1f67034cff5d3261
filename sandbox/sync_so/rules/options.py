"""Rules for `options` and `optionsOverride`."""

import math
from collections.abc import Collection
from typing import Any

from sandbox.sync_so.responses import ApiError, invalid

SYNC_MODES = ("bounce", "loop", "cut_off", "silence", "remap")
_MODEL_MODES = ("lips", "face", "head")
_PROMPTS = ("happy", "sad", "angry", "disgusted", "surprised", "neutral")

_KNOWN = frozenset(
    {
        "sync_mode",
        "temperature",
        "occlusion_detection_enabled",
        "active_speaker_detection",
        "model_mode",
        "prompt",
        "reasoning_enabled",
        # Older or undocumented members that the vendor has been seen to take.
        "output_format",
        "fps",
        "output_resolution",
        "pads",
        "speedup",
        "active_speaker",
        "prompt_image_uris",
        "i2v_prompt",
        "blending_mode",
        "face_boxes_url",
        "output_bucket_name",
    }
)
_SPEAKER_KEYS = frozenset(
    {"auto_detect", "v3", "frame_number", "coordinates", "bounding_boxes", "bounding_boxes_url"}
)


def is_number(value: Any) -> bool:
    """A finite JSON number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_options(
    options: Any, *, allowed: Collection[str] = _KNOWN, where: str = "options"
) -> None:
    """Raise ApiError (422 for a name that does not exist, 400 for a bad value)."""
    if not isinstance(options, dict):
        raise invalid(f"{where} must be an object", where)
    for name in options:
        if name not in allowed:
            raise ApiError(
                422,
                f"Invalid generation options: property {name} does not exist",
                "generation_input_validation_failed",
                field=where,
                listed=True,
            )
    _choice(options, "sync_mode", SYNC_MODES, where)
    _choice(options, "model_mode", _MODEL_MODES, where)
    _choice(options, "prompt", _PROMPTS, where)
    temperature = options.get("temperature")
    if temperature is not None and not (is_number(temperature) and 0 <= temperature <= 1):
        raise invalid(f"{where}.temperature must be a number from 0 to 1", where)
    for name in ("occlusion_detection_enabled", "reasoning_enabled"):
        if not isinstance(options.get(name, False), (bool, type(None))):
            raise invalid(f"{where}.{name} must be a boolean", where)
    speaker = options.get("active_speaker_detection")
    if speaker is not None:
        _check_speaker(speaker, f"{where}.active_speaker_detection")


def _choice(options: dict[str, Any], name: str, choices: tuple[str, ...], where: str) -> None:
    value = options.get(name)
    if value is not None and value not in choices:
        raise invalid(f"{where}.{name} must be one of: {', '.join(choices)}", where)


def _check_speaker(speaker: Any, where: str) -> None:
    if not isinstance(speaker, dict):
        raise invalid(f"{where} must be an object", "options")
    if unknown := set(speaker) - _SPEAKER_KEYS:
        raise ApiError(
            422,
            f"Invalid generation options: property {sorted(unknown)[0]} does not exist",
            "generation_input_validation_failed",
            field="options",
            listed=True,
        )
    automatic = bool(speaker.get("auto_detect"))
    point = speaker.get("coordinates") is not None or speaker.get("frame_number") is not None
    boxes = speaker.get("bounding_boxes") is not None
    linked = speaker.get("bounding_boxes_url") is not None
    if automatic + point + boxes + linked > 1:
        raise _face(f"{where} takes one way of selecting a speaker")
    if point:
        coordinates, frame = speaker.get("coordinates"), speaker.get("frame_number")
        if not _whole(coordinates, 2) or not isinstance(frame, int) or frame < 0:
            raise _face(f"{where} needs frame_number and coordinates [x, y] in whole pixels")
    if boxes:
        listed = speaker["bounding_boxes"]
        if not isinstance(listed, list) or not all(box is None or _whole(box, 4) for box in listed):
            raise _face(f"{where}.bounding_boxes must hold [x1, y1, x2, y2] or null")


def _whole(value: Any, length: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == length
        and all(isinstance(item, int) and not isinstance(item, bool) for item in value)
    )


def _face(message: str) -> ApiError:
    return invalid(message, "options", "generation_input_face_selection_invalid")
