"""Lifecycle rules: kept, returned, and applied to unfinished uploads and to old objects."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.request import Response
from sandbox.s3.operations.objects import read_xml
from sandbox.s3.service import Call, xml_response
from sandbox.s3.storage.catalog import Catalog, WriteCondition
from sandbox.s3.storage.uploads import Uploads

logger = logging.getLogger(__name__)

DAY_SECONDS = 86_400
SWEEP_SECONDS = 60.0
MAX_RULES = 1000
_ACTIONS = ("AbortIncompleteMultipartUpload", "Expiration")


@dataclass(frozen=True, slots=True)
class Rule:
    """An enabled rule; the ages are in days, None where the rule has no such action."""

    prefix: str
    abort_days: int | None
    expire_days: int | None


def put_lifecycle(call: Call) -> Response:
    root = read_xml(call, "LifecycleConfiguration")
    parse_rules(root)
    parts = [_rendered(node) for node in root.children("Rule")]
    document = xml.document("LifecycleConfiguration", *parts)
    call.service.catalog.set_setting(call.bucket, "lifecycle", document)
    return Response()


def get_lifecycle(call: Call) -> Response:
    document = call.service.catalog.setting(call.bucket, "lifecycle")
    if document is None:
        raise S3Error("NoSuchLifecycleConfiguration", details={"BucketName": call.bucket})
    return xml_response(document)


def delete_lifecycle(call: Call) -> Response:
    call.service.catalog.set_setting(call.bucket, "lifecycle", None)
    return Response(204)


def _rendered(node: xml.Node) -> str:
    children = node.children()
    if not children:
        return xml.element(node.name, node.text)
    return xml.group(node.name, [_rendered(child) for child in children])


def parse_rules(root: xml.Node) -> list[Rule]:
    """The enabled rules; refuses what is malformed and the actions that are not done here."""
    root.only("Rule")
    nodes = root.children("Rule")
    if not 0 < len(nodes) <= MAX_RULES:
        raise S3Error("MalformedXML")
    identifiers = [value for node in nodes if (value := node.value("ID"))]
    if len(set(identifiers)) != len(identifiers):
        raise S3Error("InvalidArgument", "Rule ID must be unique. Found same ID for several rules")
    rules: list[Rule] = []
    for node in nodes:
        unknown = {child.name for child in node.children()} - {"ID", "Filter", "Prefix", "Status"}
        if unknown - set(_ACTIONS):
            raise S3Error("NotImplemented", details={"Element": ", ".join(sorted(unknown))})
        status = node.required("Status")
        if status not in ("Enabled", "Disabled") or not unknown:
            raise S3Error("MalformedXML")
        rule = Rule(
            _prefix(node),
            _days(node, "AbortIncompleteMultipartUpload", "DaysAfterInitiation"),
            _days(node, "Expiration", "Days"),
        )
        if status == "Enabled":
            rules.append(rule)
    return rules


def _prefix(rule: xml.Node) -> str:
    old, new = rule.child("Prefix"), rule.child("Filter")
    if (old is None) == (new is None):
        raise S3Error("MalformedXML")
    if new is None:
        return rule.required("Prefix")
    if any(child.name != "Prefix" for child in new.children()):
        raise S3Error("NotImplemented", details={"Element": "Filter"})
    return new.value("Prefix") or ""


def _days(rule: xml.Node, action: str, name: str) -> int | None:
    node = rule.child(action)
    if node is None:
        return None
    if any(child.name != name for child in node.children()):
        raise S3Error("NotImplemented", details={"Element": action})
    text = node.required(name).strip()
    if not (text.isascii() and text.isdigit() and len(text) < 8 and int(text) > 0):
        raise S3Error("InvalidArgument", f"'{name}' for {action} action must be a positive integer")
    return int(text)


def due(since: float, days: int) -> float:
    """When an action falls due: S3 rounds up to the next midnight UTC."""
    end = since + days * DAY_SECONDS
    return -(-end // DAY_SECONDS) * DAY_SECONDS


def apply_rules(catalog: Catalog, uploads: Uploads, now: float) -> int:
    """Does what is due at `now` (seconds since the epoch); returns how many things it removed."""
    removed = 0
    for bucket, _ in catalog.buckets():
        document = catalog.setting(bucket, "lifecycle")
        if document is None:
            continue
        for rule in parse_rules(xml.parse(document, "LifecycleConfiguration")):
            if rule.abort_days is not None:
                for upload in uploads.listing(bucket):
                    if upload.key.startswith(rule.prefix) and (
                        now >= due(upload.initiated, rule.abort_days)
                    ):
                        uploads.abort(upload)
                        removed += 1
            if rule.expire_days is not None:
                for key, etag, modified in catalog.objects_with_prefix(bucket, rule.prefix):
                    if now >= due(modified, rule.expire_days):
                        # Pinned to the ETag: a newer object under the key stays.
                        catalog.delete(bucket, key, WriteCondition(if_match=etag))
                        removed += 1
    return removed


def sweep_forever(
    catalog: Catalog, uploads: Uploads, now: Callable[[], float], stopping: threading.Event
) -> None:
    """Applies the rules once a minute until `stopping` is set."""
    while not stopping.wait(SWEEP_SECONDS):
        try:
            apply_rules(catalog, uploads, now())
        except S3Error:
            # It was completed, deleted or replaced in the meantime; the next round sees.
            logger.debug("a lifecycle action met a changed bucket", exc_info=True)
        except Exception:
            # The thread has to outlive it: nothing else applies the rules.
            logger.exception("the lifecycle rules met an error that nobody expected")
