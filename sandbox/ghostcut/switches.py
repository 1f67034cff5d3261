"""Every switch of the emulator: its default, its meaning, and a view of the values in force."""

from typing import Any

from sandbox.common.settings import Switch, SwitchBoard
from sandbox.ghostcut.envelope import BAD_PARAMETER, LIMIT_ERROR

DEFAULTS: dict[str, Switch] = {
    "seconds_per_job": Switch(None, "acceptance to done, seconds; null: the real figure scaled"),
    "time_scale": Switch(0.1, "factor on every time of the vendor: 0.1 is ten times faster"),
    "media": Switch("process", "copy: the result is the source", choices=("process", "copy")),
    "lenient_validation": Switch(False, "forgive tier, language and corner-order rules"),
    "native_json_fails_later": Switch(False, "native masks: accepted, then status 26"),
    "code_native_json": Switch(BAD_PARAMETER, "code for masks or options that are no JSON text"),
    "code_no_feature": Switch(BAD_PARAMETER, "code for a request that selects no feature"),
    "code_too_many_urls": Switch(LIMIT_ERROR, "code for more than max_urls"),
    "max_urls": Switch(20, "urls per request", minimum=1),
    "require_lang": Switch(False, "refuse a request without videoInpaintLang"),
    "default_resolution": Switch("1080p", choices=("480p", "720p", "1080p")),
    "resolution_side": Switch("smaller", "side that a tier limits", choices=("smaller", "height")),
    "max_seconds": Switch(900.0, "longest source, seconds"),
    "too_long_status": Switch(5, "status of a longer source", choices=(5, 99)),
    "max_bytes": Switch(1_000_000_000, "a source of this size or more ends in status 100"),
    "allow_private": Switch(True, "sources and callbacks on private addresses"),
    "list_lag_seconds": Switch(0.0, "a work appears in listings this long after its submit"),
    "status_lag_seconds": Switch(0.0, "the same for queries by id"),
    "ids_as_strings": Switch(False, "work ids as JSON strings"),
    "omit_trace": Switch(False, "answers without trace"),
    "omit_enum": Switch(False, "rows without processStatusEnum"),
    "omit_names": Switch(False, "rows without name"),
    "strip_url_query": Switch(False, "rows show the source address without its query string"),
    "show_draft": Switch(False, "status -3 before the end of processing"),
    "empty_video_url": Switch(False, 'videoUrl "" instead of none before success'),
    "show_deleted": Switch(False, "deleted works stay visible with deleted 1"),
    "unlock_on_top_up": Switch(False, "a top-up turns status 83 into 1 without redo"),
    "points_basic": Switch(1.0, "points for each started unit, Basic"),
    "points_lite": Switch(4.0, "the same, Lite"),
    "points_pro": Switch(6.0, "the same, each kind of Pro"),
    "unit_seconds": Switch(30.0, "length of the unit of billing", minimum=1.0),
    "free_adjustments": Switch(3, "inpaint/redo runs without charge"),
    "result_hours": Switch(None, "vendor hours until a result link answers 404; null: never"),
    "callback_retry_minutes": Switch(30.0, "vendor minutes between two tries of a callback"),
    "callback_window_hours": Switch(24.0, "vendor hours after submit in which callbacks are tried"),
    "callback_timeout_seconds": Switch(10.0, "real seconds that a receiver may take"),
}


class Switches:
    """Typed access by attribute; each read gives the value in force at that moment."""

    def __init__(self, board: SwitchBoard) -> None:
        self.board = board

    def __getattr__(self, name: str) -> Any:
        if name not in DEFAULTS:
            raise AttributeError(name)
        return self.board[name]

    def scaled(self, vendor_seconds: float) -> float:
        """Real seconds for a time span of the vendor."""
        return vendor_seconds * float(self.board["time_scale"])
