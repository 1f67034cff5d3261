"""Lifecycle rules: the abort of unfinished multipart uploads, by key prefix and age in days."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.response import Response, xml_response
from sandbox.s3.operations.objects import read_xml
from sandbox.s3.service import Call, Service
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


async def put_lifecycle(call: Call) -> Response:
    root = await read_xml(call, "LifecycleConfiguration")
    parse_rules(root)
    parts = [_rendered(node) for node in root.children("Rule")]
    document = xml.document("LifecycleConfiguration", *parts)
    call.service.catalog.set_setting(call.bucket, "lifecycle", document)
    return Response()


async def get_lifecycle(call: Call) -> Response:
    document = call.service.catalog.setting(call.bucket, "lifecycle")
    if document is None:
        raise S3Error("NoSuchLifecycleConfiguration", details={"BucketName": call.bucket})
    return xml_response(document)


async def delete_lifecycle(call: Call) -> Response:
    call.service.catalog.set_setting(call.bucket, "lifecycle", None)
    return Response(204)


def _rendered(node: xml.Node) -> str:
    children = node.children()
    if not children:
        return xml.element(node.name, node.text)
    return xml.group(node.name, [_rendered(child) for child in children])


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
            raise S3Error("NotImplemented", details={"Element": ", ".join(sorted(unknown))})
        status, chosen = node.required("Status"), node.child("Filter")
        if status not in ("Enabled", "Disabled") or chosen is None:
            raise S3Error("MalformedXML")
        if any(child.name != "Prefix" for child in chosen.children()):
            raise S3Error("NotImplemented", details={"Element": "Filter"})
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


def due(since: float, days: int) -> float:
    """When an action falls due: S3 rounds up to the next midnight UTC."""
    end = since + days * DAY_SECONDS
    return -(-end // DAY_SECONDS) * DAY_SECONDS


def apply_rules(catalog: Catalog, uploads: Uploads, now: float) -> int:
    """Aborts the uploads that are due at `now` (seconds since the epoch); returns their count."""
    aborted = 0
    for bucket, _ in catalog.buckets():
        document = catalog.setting(bucket, "lifecycle")
        if document is None:
            continue
        rules = parse_rules(xml.parse(document, "LifecycleConfiguration"))
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
