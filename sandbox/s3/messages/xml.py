"""XML in and out: small documents, parsed with a bound and without entities."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree

from sandbox.s3.errors import S3Error, xml_text

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
OWNER_ID = "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a"
OWNER = f"<ID>{OWNER_ID}</ID><DisplayName>sandbox</DisplayName>"


def document(name: str, *parts: str) -> bytes:
    """A document with S3's namespace; `parts` are serialized elements."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{NAMESPACE}">'
        f"{''.join(parts)}</{name}>"
    ).encode()


def element(name: str, value: object) -> str:
    """One element with text; booleans and numbers as S3 writes them."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}>{xml_text(text)}</{name}>"


def group(name: str, *parts: str) -> str:
    """One element with serialized elements inside."""
    return f"<{name}>{''.join(parts)}</{name}>"


def moment(seconds: float) -> str:
    """A time in seconds since the epoch, as S3's XML has it."""
    value = datetime.fromtimestamp(int(seconds), UTC)
    return value.strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Node:
    """A parsed element without its namespace; lookups raise MalformedXML when text is missing."""

    def __init__(self, source: ElementTree.Element) -> None:
        self._source = source
        self.name = source.tag.rpartition("}")[2]

    @property
    def text(self) -> str:
        return (self._source.text or "").strip()

    def children(self, name: str | None = None) -> list[Node]:
        nodes = [Node(child) for child in self._source]
        return [node for node in nodes if name is None or node.name == name]

    def child(self, name: str) -> Node | None:
        nodes = self.children(name)
        if len(nodes) > 1:
            raise S3Error("MalformedXML")
        return nodes[0] if nodes else None

    def value(self, name: str) -> str | None:
        """The text of a child, with its white space, or None."""
        node = self.child(name)
        return None if node is None else node._source.text or ""

    def required(self, name: str) -> str:
        value = self.value(name)
        if value is None:
            raise S3Error("MalformedXML")
        return value

    def only(self, *names: str) -> None:
        """Refuses children of any other name."""
        if any(child.name not in names for child in self.children()):
            raise S3Error("MalformedXML")


def parse(data: bytes, root: str) -> Node:
    """Parses a document whose root element is `root`."""
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise S3Error("MalformedXML")
    try:
        node = Node(ElementTree.fromstring(data))
    except (ElementTree.ParseError, ValueError, LookupError):
        raise S3Error("MalformedXML") from None
    if node.name != root:
        raise S3Error("MalformedXML")
    return node
