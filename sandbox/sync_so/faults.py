"""Every fault of this emulator, by call. README.md says what each does."""

from sandbox.common.http_faults import TRANSPORT_KINDS
from sandbox.media.lip_sync import lip_sync

MEDIA_KINDS = frozenset(lip_sync.FAULTS)
"""Faults of the result file, which the media processing makes."""

_FILE_KINDS = TRANSPORT_KINDS - {"truncate_json", "truncate_body", "extra_fields"}

KNOWN_FAULTS = {
    **dict.fromkeys(
        ("list", "count", "link", "delete", "estimate", "asset", "upload", "other"),
        TRANSPORT_KINDS,
    ),
    "create": TRANSPORT_KINDS | {"429_concurrency", "idempotency_unknown"},
    "status": TRANSPORT_KINDS | {"unknown_status"},
    "result": _FILE_KINDS,
    "download": _FILE_KINDS | {"expired_link", "truncated", "short_file", "slow_body"},
    "job": MEDIA_KINDS | {"rejected", "failed", "stuck", "slow", "unknown_status", "extra_fields"},
    "webhook": {"drop", "delay", "duplicate", "wrong_signature", "stale", "empty_error"},
}
