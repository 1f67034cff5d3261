"""Cross-origin rules of buckets: kept, returned, and applied to browsers' requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.request import Request
from sandbox.s3.messages.response import Response
from sandbox.s3.operations.bucket_settings import BucketSetting
from sandbox.s3.storage.catalog import Catalog

METHODS = frozenset({"GET", "PUT", "HEAD", "POST", "DELETE"})
MAX_RULES = 100
_ELEMENTS = ("ID", "AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `max_age` in seconds as text, None when it says nothing."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    exposed: tuple[str, ...]
    max_age: str | None

    def allows(self, origin: str, method: str, headers: list[str]) -> bool:
        return (
            any(_matches(origin, pattern) for pattern in self.origins)
            and method in self.methods
            and all(
                any(_matches(name.lower(), pattern.lower()) for pattern in self.headers)
                for name in headers
            )
        )

    def response_headers(self, origin: str) -> dict[str, str]:
        anyone = "*" in self.origins
        headers = {
            "Access-Control-Allow-Origin": "*" if anyone else origin,
            "Access-Control-Allow-Methods": ", ".join(self.methods),
            "Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
        }
        if not anyone:
            headers["Access-Control-Allow-Credentials"] = "true"
        if self.exposed:
            headers["Access-Control-Expose-Headers"] = ", ".join(self.exposed)
        if self.max_age is not None:
            headers["Access-Control-Max-Age"] = self.max_age
        return headers


def _matches(text: str, pattern: str) -> bool:
    """Whether `text` fits a pattern with at most one `*`."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text) is not None


def parse_rules(root: xml.Node) -> list[Rule]:
    root.only("CORSRule")
    nodes = root.children("CORSRule")
    if not 0 < len(nodes) <= MAX_RULES:
        raise S3Error("MalformedXML")
    rules: list[Rule] = []
    for node in nodes:
        node.only(*_ELEMENTS, "MaxAgeSeconds")
        _, origins, methods, headers, exposed = (
            tuple(child.text for child in node.children(name)) for name in _ELEMENTS
        )
        max_age = node.value("MaxAgeSeconds")
        if not origins or not methods or (max_age is not None and not max_age.strip().isdigit()):
            raise S3Error("MalformedXML")
        for method in methods:
            if method not in METHODS:
                raise S3Error(
                    "InvalidRequest",
                    "Found unsupported HTTP method in CORS config. Unsupported method is "
                    f"{method[:20]}",
                )
        if any(not char.isprintable() for text in (*origins, *headers, *exposed) for char in text):
            raise S3Error("MalformedXML")
        if any(item.count("*") > 1 for item in (*origins, *headers)):
            raise S3Error("InvalidRequest", "A pattern can not have more than one wildcard.")
        rules.append(Rule(origins, methods, headers, exposed, max_age and max_age.strip()))
    return rules


CORS = BucketSetting("cors", "CORSConfiguration", "NoSuchCORSConfiguration", parse_rules)


def _rule(
    catalog: Catalog, bucket: str, origin: str, method: str, headers: list[str]
) -> Rule | None:
    rules = CORS.rules(catalog, bucket)
    return next((rule for rule in rules if rule.allows(origin, method, headers)), None)


def preflight(catalog: Catalog, request: Request) -> Response:
    """The answer to a browser's OPTIONS; it needs no signature."""
    origin = request.headers.get("origin")
    method = request.headers.get("access-control-request-method", "")
    if origin is None or method not in METHODS:
        raise S3Error(
            "BadRequest",
            "Insufficient information. Origin request header needed."
            if origin is None
            else f"Invalid Access-Control-Request-Method: {method[:20] or 'null'}",
        )
    text = request.headers.get("access-control-request-headers", "")
    names = [name.strip() for name in text.split(",") if name.strip()]
    rule = _rule(catalog, request.bucket or "", origin, method, names)
    if rule is None:
        raise S3Error("AccessForbidden")
    headers = rule.response_headers(origin)
    if names:
        headers["Access-Control-Allow-Headers"] = ", ".join(name.lower() for name in names)
    return Response(headers=headers)


def actual_headers(catalog: Catalog, request: Request) -> Mapping[str, str]:
    """The CORS headers of a response to a cross-origin request, refused or not."""
    origin = request.headers.get("origin")
    if origin is None or request.bucket is None:
        return {}
    try:
        rule = _rule(catalog, request.bucket, origin, request.method, [])
    except S3Error:
        return {}
    return rule.response_headers(origin) if rule else {}
