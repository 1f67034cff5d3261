"""The switches of this emulator: paces, limits, and assumptions about the vendor."""

from sandbox.common.settings import Switch
from sandbox.sync_so.rules.tables import PLANS

DELIVERIES = ("sync", "rejected", "failed")

SWITCHES = {
    "api_key": Switch("", "the only key that is accepted; empty: those given at the start"),
    "seconds_per_job": Switch(None, "acceptance to done, in seconds; null: the table, scaled"),
    "time_scale": Switch(0.1, "factor on the vendor's real processing times"),
    "hold": Switch(False, "no job ends before it is false again"),
    "media": Switch("process", "copy: the result is the input video", choices=("process", "copy")),
    "plan": Switch("enterprise", "concurrency and longest clip", choices=tuple(PLANS)),
    "concurrency_limit": Switch(None, "active generations at once; null: as the plan has it"),
    "creates_per_minute": Switch(None, "null: no limit (the vendor: 60 or 100)"),
    "reads_per_minute": Switch(None, "null: no limit (the vendor: 600)"),
    "retry_after_header": Switch(False, "429 answers carry Retry-After"),
    "rate_limit_error_code": Switch(True, "429 rate answers carry errorCode"),
    "error_code_spelling": Switch(
        "camel", "member of the REST body", choices=("camel", "snake", "both")
    ),
    "absent_fields": Switch(
        "missing", "optional members without a value", choices=("missing", "null", "empty_object")
    ),
    "message_style": Switch("string", "validation messages", choices=("string", "array")),
    "segment_errors": Switch(
        "sync", "overlap and its like: a 400, or a generation that ends so", choices=DELIVERIES
    ),
    "media_errors": Switch(
        "failed", "what only the media show; sync: looked at before the 201", choices=DELIVERIES
    ),
    "reject_touching_segments": Switch(True, "a range may not begin where another ends"),
    "reject_beyond_media_end": Switch(True, "ranges and crops past the end are refused"),
    "reject_unknown_segment_keys": Switch(True, "further members in a segment are refused"),
    "reject_null_first_box": Switch(True, "a null box on frame 0 is refused"),
    "speaker_pixels": Switch(
        "displayed",
        "frame of a turned video that a speaker's pixels refer to",
        choices=("displayed", "stored"),
    ),
    "segment_options": Switch(
        "on",
        "off: optionsOverride is refused, as seen in May 2026; failed: a generation with a speaker "
        "in it fails, as seen in June 2026",
        choices=("on", "off", "failed"),
    ),
    "idempotency": Switch(
        "on", "legacy: the header is ignored and a resend is a new job", choices=("on", "legacy")
    ),
    "idempotency_hours": Switch(24.0, "how long a key is kept"),
    "duplicate_in_flight": Switch(
        "block", "a duplicate while the first is being accepted", choices=("block", "conflict")
    ),
    "accept_seconds": Switch(0.0, "how long the server takes to accept a create"),
    "link_seconds": Switch(86400.0, "lifetime of a result link"),
    "result_redirect": Switch(True, "a result link redirects to the storage address"),
    "webhooks": Switch(True, "deliver webhooks at all"),
    "webhook_rejected": Switch(False, "REJECTED is announced too"),
    "estimate_style": Switch(
        "array", "answer of /v2/analyze/cost (the newer path: object)", choices=("array", "object")
    ),
}
