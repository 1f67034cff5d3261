"""Settings of buckets that are XML documents of rules: stored, returned, removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sandbox.s3.errors import S3Error
from sandbox.s3.messages import xml
from sandbox.s3.messages.response import Response, document_response
from sandbox.s3.operations.objects import read_xml
from sandbox.s3.service import Call
from sandbox.s3.storage.catalog import Catalog

Rule = TypeVar("Rule")


@dataclass(frozen=True, slots=True)
class BucketSetting(Generic[Rule]):
    """The setting `name` of a bucket; `parse` reads the rules or raises S3Error.

    Attributes:
        root: the document's root element.
        missing: S3's error code for a bucket without the setting.
    """

    name: str
    root: str
    missing: str
    parse: Callable[[xml.Node], list[Rule]]

    def rules(self, catalog: Catalog, bucket: str) -> list[Rule]:
        """The bucket's rules, none without the setting."""
        document = catalog.setting(bucket, self.name)
        return [] if document is None else self.parse(xml.parse(document, self.root))

    async def put(self, call: Call) -> Response:
        root = await read_xml(call, self.root)
        self.parse(root)
        document = xml.document(self.root, *[_rendered(node) for node in root.children()])
        call.service.catalog.set_setting(call.bucket, self.name, document)
        return Response()

    async def get(self, call: Call) -> Response:
        document = call.service.catalog.setting(call.bucket, self.name)
        if document is None:
            raise S3Error(self.missing, BucketName=call.bucket)
        return document_response(document)

    async def delete(self, call: Call) -> Response:
        call.service.catalog.set_setting(call.bucket, self.name, None)
        return Response(204)


def _rendered(node: xml.Node) -> str:
    children = node.children()
    if not children:
        return xml.element(node.name, node.text)
    return xml.group(node.name, *[_rendered(child) for child in children])
