"""Titles and descriptions of the flows' parameters in the form of Prefect's UI."""

from __future__ import annotations

from typing import Any

from pydantic import Field


def parameter(title: str, description: str, default: Any = ...) -> Any:
    """A flow parameter with a title, which Prefect would otherwise take from the code's name.

    Prefect builds the form from the parameter's pydantic field; ``json_schema_extra`` is where it
    lets a title through.
    """
    return Field(default=default, description=description, json_schema_extra={"title": title})


ON_DOUBT = parameter(
    "On doubt",
    "Handling of a result in which a check finds something unexpected: deliver it with warnings, "
    "or hold the job before more is paid. A retry of a held job uses the result as it is.",
    "deliver",
)
"""The parameter that both flows share."""
