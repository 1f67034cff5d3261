"""Texts without secrets: what may go into a log line, an error, a state or a report.

The query of a presigned link and the user:password of an authority are secrets. Error texts of
providers often quote links, so every foreign text is redacted here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

LONGEST_TEXT = 500
"""Characters of a foreign text that are kept."""

_HIDDEN = "***"
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]{0,20}:(?:\\?/){2})(?P<rest>[^\s\"'<>|^`]+)", re.I)
_ENCODED_URL = re.compile(r"(?:https?|s3)%3a%2f%2f[^\s\"'<>&|^`]+", re.I)
# Signed parameters may follow; %3F is an encoded "?", \u003f an escaped one.
_QUERY = re.compile(r"(?:[?#]|%3f|%23|\\u003f).*", re.I | re.S)
_AUTHORITY = re.compile(r"^[^/\\?#]*@")
# Every part is bounded, so that a hostile text cannot make the search quadratic. The last line of
# names has no word boundary before it: "access_token" and "client-secret" match by their end.
_PARAMETER = re.compile(
    r"(?P<name>(?:\b(?:x-amz-[a-z-]{1,30}|x-goog-[a-z-]{1,30}|aws_[a-z_]{0,20}key[a-z_]{0,20}|"
    r"app-?key|app-?sign|callback-sign|sync-signature|sig|(?:x-)?api[_-]?key|passwd|password)|"
    r"accesskeyid|access[_-]key[_-]id|signature|token|secret|authorization)"
    r"[\"']?\s{0,10}(?:=|:|%3d)\s{0,10}[\"']?)"
    r"(?P<value>(?:bearer\s{1,10}|basic\s{1,10})?[^\s\"'&,;<>}\])]+)",
    re.I,
)
_BEARER = re.compile(r"\bbearer\s{1,10}[a-z0-9._~+/=-]{8,}", re.I)
_KEY_SHAPES = re.compile(r"\b(?:sk-|whsec_)[A-Za-z0-9_-]{6,}|\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def redact_url(url: str) -> str:
    """The address without user, password, query and fragment; ``?***`` marks a removed query."""
    match = _URL.fullmatch(url.strip())
    if match is None:
        return redact(url)
    return _clean_url(match)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` on one line, without secrets, at most :data:`LONGEST_TEXT` characters long.

    Removes queries and credentials of links, named keys and signatures, and each of ``secrets``
    wherever it stands, also percent-encoded.
    """
    # Bounds the time for a megabyte of HTML.
    clean = text[: LONGEST_TEXT * 20]
    for secret in secrets:
        if secret:
            for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
                clean = clean.replace(form, _HIDDEN)
    clean = _URL.sub(_clean_url, clean)
    clean = _ENCODED_URL.sub(lambda match: _QUERY.sub(f"?{_HIDDEN}", match.group()), clean)
    clean = _PARAMETER.sub(rf"\g<name>{_HIDDEN}", clean)
    clean = _BEARER.sub(f"Bearer {_HIDDEN}", clean)
    clean = _KEY_SHAPES.sub(_HIDDEN, clean)
    clean = " ".join(_UNPRINTABLE.sub(" ", clean).split())
    return clean if len(clean) <= LONGEST_TEXT else clean[: LONGEST_TEXT - 1] + "…"


def _clean_url(match: re.Match[str]) -> str:
    rest = _AUTHORITY.sub("", match["rest"])
    return match["scheme"] + _QUERY.sub(f"?{_HIDDEN}", rest)
