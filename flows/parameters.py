"""The flow parameters in the form of Prefect's UI: titles, descriptions and defaults."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pro_video.request.models import Speaker


def parameter(title: str, description: str, default: Any = ..., *, ge: int | None = None) -> Any:
    """A flow parameter with a title, which Prefect would otherwise take from the code's name, and
    perhaps a least value.

    Prefect builds the form from the parameter's pydantic field and passes ``json_schema_extra``
    through to it.
    """
    return Field(
        default=default, description=description, json_schema_extra={"title": title}, ge=ge
    )


# Parameters of both flows that make jobs

VIDEO = parameter(
    "Video",
    "The video: s3://bucket/key, an https:// link to the file, or an absolute path where the "
    "worker allows local files.",
)
DISPLAY_NAME = parameter("Name", "A name for the job, shown in its report.", "")
LANGUAGE = parameter("Text language", "Language of the text to erase.", "all")
RESOLUTION = parameter(
    "Resolution", "Largest resolution after text removal; it never scales up.", "1080p"
)
QUALITY = parameter(
    "Text removal quality",
    "GhostCut's tier. basic takes all kinds of areas; the others only erase_text.",
    "basic",
)
MAX_COST_USD = parameter(
    "Most cost (USD)",
    "Refuse the job before anything is paid when it may cost more by the price lists; none: no "
    "limit.",
    None,
)
ON_DOUBT = parameter(
    "On doubt",
    "Handling of a result in which a check finds something unexpected: deliver it with warnings, "
    "or hold the job before more is paid. A retry of a held job uses the result as it is.",
    "deliver",
)

# Parameters of the main flow alone

SEGMENTS = parameter(
    "Segments", "Time ranges of the video, each with the audio that replaces its speech."
)
ANNOTATION_AREAS = parameter(
    "Annotation areas",
    "Where to erase everything, erase text, or protect the picture. None: lip-sync only.",
    [],
)
MODEL = parameter("Lip-sync model", "Sync.so's model.", "lipsync-2")
SYNC_MODE = parameter(
    "Sync mode",
    "Handling of an audio that is longer or shorter than its segment; cut_off keeps the "
    "video's timing.",
    "cut_off",
)
TEMPERATURE = parameter(
    "Temperature",
    "Expressiveness of the mouth, 0 to 1; only for lipsync-2 and lipsync-2-pro.",
    None,
)
ACTIVE_SPEAKER = parameter(
    "Speaker",
    "Who speaks, where several faces are in the picture: found by Sync.so, a point of the face "
    "or a box around it. A segment may have its own.",
    Speaker(),
)
OCCLUSION_DETECTION = parameter(
    "Occlusion detection",
    "Keep hands and objects in front of the mouth; slower. sync-3 does it by itself.",
    False,
)
REUSE_LIP_SYNC = parameter(
    "Reuse lip-sync",
    "Take the lip-sync of an earlier job with the same video, audios, segments and options, so "
    "that other annotation areas cost only the text removal.",
    True,
)
