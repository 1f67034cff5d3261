"""The flow parameters in the form of Prefect's UI: titles, descriptions and defaults."""

from __future__ import annotations

from typing import Any

from pydantic import Field


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
ON_DOUBT = parameter(
    "On doubt",
    "Handling of a result in which a check finds something unexpected: deliver it with warnings, "
    "or hold the job before more is paid. A retry of a held job uses the result as it is.",
    "deliver",
)
