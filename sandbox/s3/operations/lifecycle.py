"""Lifecycle rules: the abort of unfinished multipart uploads, by key prefix and age in days."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.operations.bucket_settings import BucketSetting
from sandbox.s3.service import Service
from sandbox.s3.storage.catalog import Catalog
from sandbox.s3.storage.uploads import Uploads

DAY_SECONDS = 86_400
SWEEP_SECONDS = 60.0
MAX_RULES = 1000
_ACTION = "AbortIncompleteMultipartUpload"


@dataclass(frozen=True, slots=True)
class Rule:
    """An enabled rule: uploads of keys with the prefix end after so many days."""

    prefix: str
    days: int


def parse_rules(root: xml.Node) -> list[Rule]:
    """The enabled rules; refuses what is malformed and every other action."""
    root.only("Rule")
    nodes = root.children("Rule")
    if not 0 < len(nodes) <= MAX_RULES:
        raise S3Error("MalformedXML")
    rules: list[Rule] = []
    for node in nodes:
        unknown = {child.name for child in node.children()} - {"ID", "Filter", "Status", _ACTION}
        if unknown:
            raise S3Error("NotImplemented", Element=", ".join(sorted(unknown)))
        status, chosen = node.required("Status"), node.child("Filter")
        if status not in ("Enabled", "Disabled") or chosen is None:
            raise S3Error("MalformedXML")
        if any(child.name != "Prefix" for child in chosen.children()):
            raise S3Error("NotImplemented", Element="Filter")
        rule = Rule(chosen.value("Prefix") or "", _days(node))
        if status == "Enabled":
            rules.append(rule)
    return rules


def _days(rule: xml.Node) -> int:
    node = rule.child(_ACTION)
    if node is None:
        raise S3Error("MalformedXML")
    text = node.required("DaysAfterInitiation").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 8 and int(text) > 0):
        raise S3Error(
            "InvalidArgument", f"'DaysAfterInitiation' for {_ACTION} must be a positive integer"
        )
    return int(text)


LIFECYCLE = BucketSetting(
    "lifecycle", "LifecycleConfiguration", "NoSuchLifecycleConfiguration", parse_rules
)


def due(since: float, days: int) -> float:
    """When an action falls due: S3 rounds up to the next midnight UTC."""
    end = since + days * DAY_SECONDS
    return -(-end // DAY_SECONDS) * DAY_SECONDS


def apply_rules(catalog: Catalog, uploads: Uploads, now: float) -> int:
    """Aborts the uploads that are due at `now` (seconds since the epoch); returns their count."""
    aborted = 0
    for bucket, _ in catalog.buckets():
        rules = LIFECYCLE.rules(catalog, bucket)
        for upload in uploads.listing(bucket):
            if any(
                upload.key.startswith(rule.prefix) and now >= due(upload.initiated, rule.days)
                for rule in rules
            ):
                uploads.abort(upload)
                aborted += 1
    return aborted


async def sweep_forever(service: Service) -> None:
    """Applies the rules once a minute."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        apply_rules(service.catalog, service.uploads, service.now())
        await service.blobs.collect()
