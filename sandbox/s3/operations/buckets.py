"""Operations on buckets."""

from __future__ import annotations

import ipaddress
import re

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.response import Response, xml_response
from sandbox.s3.service import XML_LIMIT_BYTES, Call
from sandbox.s3.verification.payload import Payload

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CLASSIC_REGION = "us-east-1"


def check_name(name: str) -> None:
    """The rules for names of general purpose buckets."""
    bad = (
        not _NAME.fullmatch(name)
        or ".." in name
        or name.startswith(("xn--", "sthree-", "amzn-s3-demo-"))
        or name.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"))
    )
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        pass
    else:
        bad = True
    if bad:
        raise S3Error("InvalidBucketName", BucketName=name)


async def create_bucket(call: Call) -> Response:
    check_name(call.bucket)
    region = call.service.region
    payload = Payload(call.request, call.authorization, empty_allowed=True)
    body = await payload.read(XML_LIMIT_BYTES)
    wanted: str | None = None
    if body.strip():
        wanted = xml.parse(body, "CreateBucketConfiguration").value("LocationConstraint")
    if wanted == _CLASSIC_REGION:
        raise S3Error("InvalidLocationConstraint", LocationConstraint=wanted)
    if (wanted or _CLASSIC_REGION) != region:
        raise S3Error(
            "IllegalLocationConstraintException",
            f"The {wanted or 'unspecified'} location constraint is incompatible for the region "
            "specific endpoint this request was sent to.",
        )
    # The classic region answers a repeated creation with success, every other one with 409.
    if not call.service.catalog.create_bucket(call.bucket) and region != _CLASSIC_REGION:
        raise S3Error("BucketAlreadyOwnedByYou", BucketName=call.bucket)
    return Response(headers={"Location": f"/{call.bucket}"})


async def head_bucket(call: Call) -> Response:
    call.service.catalog.require_bucket(call.bucket)
    return Response(headers={"x-amz-bucket-region": call.service.region})


async def delete_bucket(call: Call) -> Response:
    call.service.catalog.delete_bucket(call.bucket)
    return Response(204)


async def list_buckets(call: Call) -> Response:
    prefix = call.request.query.get("prefix", "")
    after = call.request.query.get("continuation-token", "")
    limit = call.request.number("max-buckets", 10_000, low=1, high=10_000)
    found = [
        (name, created)
        for name, created in call.service.catalog.buckets()
        if name.startswith(prefix) and name > after
    ]
    entries = [
        xml.group(
            "Bucket",
            xml.element("Name", name),
            xml.element("CreationDate", xml.moment(created)),
            xml.element("BucketRegion", call.service.region),
        )
        for name, created in found[:limit]
    ]
    more = xml.element("ContinuationToken", found[limit - 1][0]) if len(found) > limit else ""
    return xml_response(
        "ListAllMyBucketsResult",
        xml.group("Owner", xml.OWNER),
        xml.group("Buckets", *entries),
        more,
        xml.element("Prefix", prefix) if prefix else "",
    )


async def get_location(call: Call) -> Response:
    call.service.catalog.require_bucket(call.bucket)
    region = call.service.region
    text = "" if region == _CLASSIC_REGION else region
    return xml_response("LocationConstraint", text)
