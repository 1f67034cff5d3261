"""Every fault of this emulator by call. README.md says what each does."""

from sandbox.kit.http_faults import TRANSPORT_KINDS
from sandbox.media.lip_sync import lip_sync

MEDIA_KINDS = frozenset(lip_sync.FAULTS)
"""Kinds that the media code itself understands."""

JOB_KINDS = MEDIA_KINDS | {
    "rejected",
    "failed",
    "stuck",
    "slow",
    "unknown_status",
    "extra_fields",
}

DOWNLOAD_KINDS = frozenset({"expired_link", "truncated", "short_file", "slow_body"})
WEBHOOK_KINDS = frozenset({"drop", "delay", "duplicate", "wrong_signature", "stale", "empty_error"})

KNOWN_FAULTS = {
    "create": TRANSPORT_KINDS | {"429_concurrency", "idempotency_unknown"},
    "status": TRANSPORT_KINDS | {"unknown_status"},
    "list": TRANSPORT_KINDS,
    "count": TRANSPORT_KINDS,
    "link": TRANSPORT_KINDS,
    "delete": TRANSPORT_KINDS,
    "result": TRANSPORT_KINDS - {"truncate_json", "truncate_body", "extra_fields"},
    "estimate": TRANSPORT_KINDS,
    "asset": TRANSPORT_KINDS,
    "upload": TRANSPORT_KINDS,
    "other": TRANSPORT_KINDS,
    "download": (TRANSPORT_KINDS - {"truncate_json", "truncate_body", "extra_fields"})
    | DOWNLOAD_KINDS,
    "job": JOB_KINDS,
    "webhook": WEBHOOK_KINDS,
}
