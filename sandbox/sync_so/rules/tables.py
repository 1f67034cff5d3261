"""The vendor's published tables: models, prices, speed, plans, error codes."""

from dataclasses import dataclass

VIDEO_MAX_WIDTH, VIDEO_MAX_HEIGHT = 4096, 2160
SCRIPT_MAX_CHARACTERS = 5000
MULTIPART_FILE_MAX = 20 * 1024 * 1024
ASSET_MAX = 5 * 1024**3


@dataclass(frozen=True)
class Model:
    """A model: USD per output frame, seconds of processing per second of video, longest input."""

    name: str
    kind: str
    usd_per_frame: float
    pace: float
    max_seconds: float | None = None
    description: str = ""


MODELS = {
    model.name: model
    for model in (
        Model("sync-3", "lipsync", 0.00534, 25.0, None, "Highest quality, up to 4K"),
        Model("lipsync-2-pro", "lipsync", 0.00333, 6.0, None, "More detail"),
        Model("lipsync-2", "lipsync", 0.002, 4.0, None, "General model"),
        Model("lipsync-1.9.0-beta", "lipsync", 0.001, 1.5, None, "Fastest"),
        Model("react-1", "react", 0.00667, 3.0, 15.0, "Lips, face and head reactions"),
    )
}
"""Prices and speeds of the vendor's tables; `pace` is the middle of each printed range."""

OVERHEAD_SECONDS = 20.0
"""Fixed part of the processing time (assumed: observed only as tens of seconds)."""


@dataclass(frozen=True)
class Plan:
    """A plan: generations at once (None: no limit) and longest clip in seconds."""

    concurrency: int | None
    max_seconds: float | None


PLANS = {
    "free": Plan(1, 20.0),
    "hobbyist": Plan(1, 60.0),
    "creator": Plan(3, 300.0),
    "growth": Plan(6, 600.0),
    "scale": Plan(15, 1800.0),
    "enterprise": Plan(None, None),
}

_CODES = """
generation_unsupported_model: The model does not exist or does not take this input.
generation_pipeline_failed: Processing failed.
generation_unknown_error: An unknown error occurred.
generation_input_validation_failed: The request or its inputs are not valid.
generation_infra_storage_error: Storage failed while processing.
generation_infra_resource_exhausted: No processing capacity was left.
generation_infra_service_unavailable: A processing service is unavailable.
generation_input_video_inaccessible: The video could not be fetched.
generation_input_audio_inaccessible: The audio could not be fetched.
generation_input_image_inaccessible: The image could not be fetched.
generation_input_video_invalid: The video could not be decoded.
generation_input_audio_invalid: The audio could not be decoded.
generation_input_segments_invalid: The segments configuration is invalid.
generation_input_trim_invalid: The audio crop is outside of the audio.
generation_input_face_selection_invalid: The speaker selection cannot be used.
generation_input_resolution_unsupported: The resolution is not supported.
generation_input_duration_greater_than_max_duration: The input is too long.
generation_model_duration_exceeded: The input is too long for this model.
generation_plan_duration_exceeded: The input is too long for your plan.
dubbing_duration_exceeded: The input is too long for dubbing.
free_tier_generations_exhausted: The free generations of this month are used up.
plan_feature_unavailable: Your plan does not include this feature.
account_payment_required: A payment is due.
account_on_hold: The account is on hold.
voice_clone_limit_reached: No further voice can be cloned.
elevenlabs_quota_exceeded: The ElevenLabs quota is used up.
generation_input_asset_type_mismatch: The asset is not of the kind that this input needs.
generation_input_too_many_visual: Only one video or image is allowed.
generation_input_dub_audio_conflict: Dubbing takes no audio or text input.
concurrency_limit_reached: Too many generations are active.
rate_limit_exceeded: Rate limit exceeded. Please try again later.
generation_not_deletable_while_processing: The generation is still active.
invalid_generation_id: The generation id is not valid.
unsupported_generation_id_format: The form of the generation id is not supported.
generation_not_found: The generation does not exist.
generation_conflict: The generation is in another state.
generation_media_probe_timeout: Looking at the inputs took too long.
generation_media_probe_unavailable: The inputs could not be looked at.
controller_timeout: The control plane took too long.
controller_unavailable: The control plane is unavailable.
controller_dependency_error: A dependency of the control plane failed.
internal_error: Internal server error.
usage_dependency_unavailable: Usage could not be checked.
project_not_found: The project does not exist.
asset_not_found: The asset does not exist.
asset_forbidden: The asset belongs to somebody else.
invalid_asset_id_format: The asset id is not valid.
uploaded_file_not_found: No file was uploaded there.
file_not_in_org_storage: The address is not in your storage.
file_size_exceeds_plan_limit: The file is too large for your plan.
voice_not_found: The voice does not exist.
voice_sample_not_accessible: The voice sample could not be fetched.
voice_sample_type_unsupported: The voice sample is of an unsupported type.
voice_sample_upload_required: The voice sample has to be uploaded.
voice_sample_extraction_failed: No voice could be extracted.
voice_sample_source_too_large: The voice sample is too large.
voice_sample_too_short: The voice sample is too short.
voice_sample_invalid: The voice sample is not valid.
voice_name_conflict: A voice of that name exists.
voice_clone_busy: A voice is being cloned.
elevenlabs_api_key_invalid: The ElevenLabs key is not valid.
elevenlabs_service_unavailable: ElevenLabs is unavailable.
"""

ERROR_CODES = dict(line.split(": ", 1) for line in _CODES.strip().splitlines())
"""The vendor's 62 codes (its order of August 2026); the texts are this project's own."""


def expected_seconds(model: str, video_seconds: float) -> float:
    """How long the vendor takes for a clip, in seconds, before any scaling."""
    return OVERHEAD_SECONDS + MODELS[model].pace * video_seconds
