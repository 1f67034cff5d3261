"""Every fault of this emulator, by call. README.md says what each does."""

from sandbox.common.http_faults import TRANSPORT_KINDS
from sandbox.media.inpainting import inpaint

MEDIA_KINDS = frozenset(inpaint.FAULTS)
"""Faults of the result file, which the media processing makes."""

ENVELOPE_KINDS = frozenset({"reject", "9999", "3006"})
"""Envelope codes: `reject` takes `code` and `msg`; the others are its two usual cases."""

_CALL_KINDS = TRANSPORT_KINDS | ENVELOPE_KINDS
_FILE_KINDS = TRANSPORT_KINDS - {"truncate_json", "truncate_body", "extra_fields"}

KNOWN_FAULTS = {
    **dict.fromkeys(
        ("create", "delete", "redo", "adjust", "points", "policy", "remove", "enum"), _CALL_KINDS
    ),
    "status": _CALL_KINDS | {"unknown_status", "empty"},
    "list": _CALL_KINDS | {"unknown_status", "empty"},
    "job": MEDIA_KINDS | {"failed", "stuck", "slow", "unknown_status", "empty_result"},
    "download": _FILE_KINDS | {"expired_link", "truncated", "short_file"},
    "callback": {"drop", "delay", "duplicate", "wrong_signature"},
}
