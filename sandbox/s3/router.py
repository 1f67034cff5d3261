"""Finds the operation that a request means; any other is refused."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sandbox.s3.errors import S3Error
from sandbox.s3.messages.request import Request
from sandbox.s3.operations import buckets, copying, listings, multipart, objects, upload_listings
from sandbox.s3.operations.cors import CORS
from sandbox.s3.operations.lifecycle import LIFECYCLE
from sandbox.s3.service import Handler

# Query parameters that turn a request into another operation. Parameters that only S3 knows are
# refused: treating `?acl` as absent would store an ACL document as the object.
SUBRESOURCES = frozenset(
    {
        "accelerate", "acl", "analytics", "annotation", "attributes", "cors", "delete",
        "encryption", "intelligent-tiering", "inventory", "legal-hold", "lifecycle", "location",
        "logging", "metadataConfiguration", "metadataTable", "metrics", "notification",
        "object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock",
        "renameObject", "replication", "requestPayment", "restore", "retention", "select",
        "session", "tagging", "torrent", "uploadId", "uploads", "versioning", "versions",
        "website",
    }
)  # fmt: skip

# (level, method, subresource) -> (operation, handler); "source" stands for a copy source header.
Table = Mapping[tuple[str, str, str | None], tuple[str, Handler]]
OPERATIONS: Table = MappingProxyType(
    {
        ("service", "GET", None): ("list_buckets", buckets.list_buckets),
        ("bucket", "PUT", None): ("create_bucket", buckets.create_bucket),
        ("bucket", "HEAD", None): ("head_bucket", buckets.head_bucket),
        ("bucket", "DELETE", None): ("delete_bucket", buckets.delete_bucket),
        ("bucket", "GET", "location"): ("get_bucket_location", buckets.get_location),
        ("bucket", "GET", "list-type"): ("list_objects_v2", listings.list_objects_v2),
        ("bucket", "GET", "uploads"): ("list_multipart_uploads", upload_listings.list_uploads),
        ("bucket", "PUT", "lifecycle"): ("put_bucket_lifecycle", LIFECYCLE.put),
        ("bucket", "GET", "lifecycle"): ("get_bucket_lifecycle", LIFECYCLE.get),
        ("bucket", "DELETE", "lifecycle"): ("delete_bucket_lifecycle", LIFECYCLE.delete),
        ("bucket", "PUT", "cors"): ("put_bucket_cors", CORS.put),
        ("bucket", "GET", "cors"): ("get_bucket_cors", CORS.get),
        ("bucket", "DELETE", "cors"): ("delete_bucket_cors", CORS.delete),
        ("bucket", "POST", "delete"): ("delete_objects", objects.delete_objects),
        ("object", "PUT", None): ("put_object", objects.put_object),
        ("object", "PUT", "source"): ("copy_object", copying.copy_object),
        ("object", "PUT", "uploadId+source"): ("upload_part_copy", copying.upload_part_copy),
        ("object", "GET", "uploadId"): ("list_parts", upload_listings.list_parts),
        ("object", "GET", None): ("get_object", objects.get_object),
        ("object", "HEAD", None): ("head_object", objects.get_object),
        ("object", "DELETE", None): ("delete_object", objects.delete_object),
        ("object", "POST", "uploads"): ("create_multipart_upload", multipart.create_upload),
        ("object", "PUT", "uploadId"): ("upload_part", multipart.upload_part),
        ("object", "POST", "uploadId"): ("complete_multipart_upload", multipart.complete_upload),
        ("object", "DELETE", "uploadId"): ("abort_multipart_upload", multipart.abort_upload),
    }
)
_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE"})


def route(request: Request) -> tuple[str, Handler]:
    """The operation's name in snake case and its handler."""
    if request.bucket is None and request.key is not None:
        raise S3Error("InvalidBucketName", BucketName="")
    level = "bucket" if request.key is None else "object"
    if request.bucket is None:
        level = "service"
    if "versionId" in request.query and request.query["versionId"] not in ("", "null"):
        raise S3Error("NotImplemented", Query="versionId")
    subresources = sorted(SUBRESOURCES & request.query.keys())
    if len(subresources) > 1:
        raise S3Error(
            "InvalidArgument", f"Conflicting query string parameters: {', '.join(subresources)}"
        )
    subresource = subresources[0] if subresources else None
    if subresource is None and level == "bucket" and "list-type" in request.query:
        if request.query["list-type"] != "2":
            raise S3Error("InvalidArgument", "Invalid List Type specified in Request")
        subresource = "list-type"
    if "x-amz-copy-source" in request.headers and request.method == "PUT" and level == "object":
        subresource = "source" if subresource is None else f"{subresource}+source"
    found = OPERATIONS.get((level, request.method, subresource))
    if found is not None:
        return found
    if (level, request.method, subresource) == ("bucket", "GET", None):
        raise S3Error("NotImplemented", Operation="ListObjects")
    if request.method not in _METHODS or subresource is None:
        raise S3Error("MethodNotAllowed", Method=request.method[:20], ResourceType=level.upper())
    raise S3Error("NotImplemented", Query=subresource)
