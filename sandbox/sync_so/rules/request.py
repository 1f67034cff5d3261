"""Rules for the body of POST /v2/generate that need no media."""

import ipaddress
import re
import uuid
from typing import Any
from urllib.parse import urlsplit

from sandbox.common.settings import SwitchBoard
from sandbox.sync_so.responses import ApiError, invalid
from sandbox.sync_so.rules.options import check_options, is_number
from sandbox.sync_so.rules.segments import check_segments
from sandbox.sync_so.rules.tables import MODELS, SCRIPT_MAX_CHARACTERS

ECHOED = (
    "model",
    "input",
    "options",
    "segments",
    "webhookUrl",
    "outputFileName",
    "projectId",
)
"""Members of the request that the Generation repeats."""

_FILE_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_TYPES = ("video", "image", "audio", "text")


def check_request(body: Any, switches: SwitchBoard) -> tuple[dict[str, Any], str | None]:
    """The members to keep, and the message for overlapping segments (None: there are none).

    Raises ApiError for every other mistake.
    """
    if not isinstance(body, dict):
        raise invalid("the body must be an object")
    request = {name: body[name] for name in ECHOED if body.get(name) is not None}
    model = request.get("model")
    if not isinstance(model, str) or model not in MODELS:
        raise invalid("model is not supported", "model", "generation_unsupported_model")
    for name in ("dubParams", "dialogueEdit"):
        if body.get(name) is not None:
            raise ApiError(402, f"{name} is not available", "plan_feature_unavailable", field=name)
    visual, sounds = _check_inputs(request.get("input"), model)
    options = request.get("options")
    if options is not None:
        check_options(options)
        speaker = options.get("active_speaker_detection") or {}
        if visual["type"] == "image" and speaker.get("auto_detect"):
            code = "generation_input_face_selection_invalid"
            raise invalid("auto_detect is not available for an image", "options", code)
    refusal = _check_sounds(request, visual, sounds, switches)
    _check_names(request)
    return request, refusal


def _check_inputs(inputs: Any, model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The picture and the sounds."""
    if not isinstance(inputs, list) or not inputs:
        raise invalid("input must be a non-empty array", "input")
    for index, item in enumerate(inputs):
        _check_input(f"input.{index}", item)
    visuals = [item for item in inputs if item["type"] in ("video", "image")]
    sounds = [item for item in inputs if item["type"] in ("audio", "text")]
    if len(visuals) > 1:
        code = "generation_input_too_many_visual"
        raise invalid("only one video or image is allowed", "input", code)
    if not visuals:
        raise invalid("a video or image input is required", "input")
    if not sounds:
        raise invalid("an audio or text input is required", "input")
    if visuals[0]["type"] == "image" and model != "sync-3":
        raise invalid(f"{model} does not take an image", "input", "generation_unsupported_model")
    return visuals[0], sounds


def _check_input(where: str, item: Any) -> None:
    if not isinstance(item, dict) or item.get("type") not in _TYPES:
        raise invalid(f"{where}.type must be one of: {', '.join(_TYPES)}", "input")
    reference = item.get("refId")
    if reference is not None and (not isinstance(reference, str) or not reference):
        raise invalid(f"{where}.refId must be a non-empty string", "input")
    if item["type"] == "text":
        _check_text(f"{where}.provider", item.get("provider"))
        return
    url, asset = item.get("url"), item.get("assetId")
    if url is None and asset is None:
        raise invalid(f"{where} needs url or assetId", "input")
    if url is not None and not _is_http(url):
        raise invalid(f"{where}.url must be a URL address", "input")
    if asset is not None and not is_uuid(asset):
        message = f"{where}.assetId is not valid"
        raise ApiError(400, message, "invalid_asset_id_format", field="input")


def _check_text(where: str, provider: Any) -> None:
    if not isinstance(provider, dict) or provider.get("name") != "elevenlabs":
        raise invalid(f"{where}.name must be elevenlabs", "input")
    voice, script = provider.get("voiceId"), provider.get("script")
    if not isinstance(voice, str) or not voice:
        raise invalid(f"{where}.voiceId must be a string", "input")
    if not isinstance(script, str) or not script.strip():
        raise invalid(f"{where}.script must be a string", "input")
    if len(script) > SCRIPT_MAX_CHARACTERS:
        message = f"{where}.script is longer than {SCRIPT_MAX_CHARACTERS} characters"
        raise invalid(message, "input", "generation_text_length_exceeded")
    for name in ("stability", "similarityBoost"):
        value = provider.get(name, 0.5)
        if not is_number(value) or not 0 <= value <= 1:
            raise invalid(f"{where}.{name} must be a number from 0 to 1", "input")


def _check_sounds(
    request: dict[str, Any],
    visual: dict[str, Any],
    sounds: list[dict[str, Any]],
    switches: SwitchBoard,
) -> str | None:
    segments = request.get("segments")
    if segments is None:
        if len(sounds) > 1:
            raise invalid("several audio inputs need segments", "input")
        return None
    if visual["type"] != "video":
        raise invalid("segments are only supported for video inputs", "segments")
    references = {item.get("refId") for item in sounds}
    if None in references:
        raise invalid("every audio input needs a refId when segments are used", "input")
    if len(references) < len(sounds):
        raise invalid("refId must be unique over the audio inputs", "input")
    return check_segments(segments, {str(name) for name in references}, switches)


def _check_names(request: dict[str, Any]) -> None:
    name = request.get("outputFileName")
    if name is not None and (not isinstance(name, str) or not _FILE_NAME.fullmatch(name)):
        message = "outputFileName must be up to 255 letters, digits, underscores or hyphens"
        raise invalid(message, "outputFileName")
    webhook = request.get("webhookUrl")
    if webhook is not None and not _is_webhook(webhook):
        raise invalid("webhookUrl must be an HTTPS address", "webhookUrl")
    project = request.get("projectId")
    if project is not None:
        if not is_uuid(project):
            raise invalid("projectId must be a UUID", "projectId")
        raise ApiError(422, "Project not found", "project_not_found", field="projectId")


def is_uuid(value: Any) -> bool:
    """A UUID in its usual form."""
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def _is_http(url: Any) -> bool:
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _is_webhook(url: Any) -> bool:
    """HTTPS, or plain HTTP to this machine: the vendor cannot reach that, but tests need it."""
    if not _is_http(url):
        return False
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
