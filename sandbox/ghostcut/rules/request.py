"""Rules for a submit request whose breach is refused at once, with an envelope code.

Mask geometry, tiers, reachability, length and points are judged later and show in the work's
status (see `plan`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.common.json_text import load
from sandbox.common.settings import SwitchBoard
from sandbox.ghostcut.envelope import BAD_PARAMETER, URLS_ERROR, RejectedError

EMULATED_MODES = frozenset({1, 2})
"""`needChineseOcclude`: 1 whole frame, 2 only inside the masks."""


@dataclass(frozen=True)
class Submission:
    """An accepted request for one or more works.

    `masks` and `extra` keep the JSON text as it came; `names` holds one entry per url.
    """

    urls: tuple[str, ...]
    names: tuple[str, ...]
    mode: int
    lang: str
    resolution: str
    masks: str | None
    extra: str | None
    callback: str | None


def read_submission(data: Mapping[str, Any], switches: SwitchBoard) -> Submission:
    """Check types and presence; raises RejectedError with the code that the switches name."""
    urls = _urls(data, switches)
    names = _names(data.get("names"), len(urls))
    mode = data.get("needChineseOcclude", 0)
    if isinstance(mode, bool) or not isinstance(mode, int):
        raise RejectedError(BAD_PARAMETER, "needChineseOcclude must be an integer")
    if mode == 0:
        raise RejectedError(switches["code_no_feature"], "No feature is selected")
    if mode not in EMULATED_MODES:
        raise RejectedError(BAD_PARAMETER, f"needChineseOcclude {mode} is not emulated")
    for ignored in ("uid", "outUserId"):
        _text(data, ignored)
    lang = _text(data, "videoInpaintLang")
    if lang is None:
        if switches["require_lang"]:
            raise RejectedError(BAD_PARAMETER, "videoInpaintLang is required")
        lang = "all"
    return Submission(
        urls=urls,
        names=names,
        mode=mode,
        lang=lang,
        resolution=_text(data, "resolution") or switches["default_resolution"],
        masks=read_json_text(data, "videoInpaintMasks", list, switches),
        extra=read_json_text(data, "extraOptions", dict, switches),
        callback=_text(data, "callback") or None,
    )


def read_json_text(
    data: Mapping[str, Any],
    field: str,
    kind: type[list[Any]] | type[dict[str, Any]],
    switches: SwitchBoard,
) -> str | None:
    """The text of a field that must be a *string* of JSON; None when it is absent.

    A native object, and a string without a JSON `kind`, are refused with `code_native_json`; with
    `native_json_fails_later` they become a text that `plan` refuses.
    """
    value = data.get(field)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            good = isinstance(load(value), kind)
        except ValueError:
            good = False
        if good or switches["native_json_fails_later"]:
            return value
        word = "list" if kind is list else "object"
        raise RejectedError(
            switches["code_native_json"], f"{field} must be the JSON text of a {word}"
        )
    if switches["native_json_fails_later"]:
        return f"not a string: {type(value).__name__}"
    raise RejectedError(switches["code_native_json"], f"{field} must be a string of JSON")


def _urls(data: Mapping[str, Any], switches: SwitchBoard) -> tuple[str, ...]:
    urls = data.get("urls")
    if urls is None or urls == []:
        raise RejectedError(URLS_ERROR)
    if not isinstance(urls, list) or not all(isinstance(url, str) and url for url in urls):
        raise RejectedError(BAD_PARAMETER, "urls must be a list of strings")
    if len(urls) > switches["max_urls"]:
        raise RejectedError(switches["code_too_many_urls"])
    return tuple(urls)


def _names(names: Any, count: int) -> tuple[str, ...]:
    """One name per url; names of another count are dropped, as the vendor does."""
    if names is None:
        return ("",) * count
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RejectedError(BAD_PARAMETER, "names must be a list of strings")
    return tuple(names) if len(names) == count else ("",) * count


def _text(data: Mapping[str, Any], field: str) -> str | None:
    value = data.get(field)
    if value is None or isinstance(value, str):
        return value
    raise RejectedError(BAD_PARAMETER, f"{field} must be a string")
