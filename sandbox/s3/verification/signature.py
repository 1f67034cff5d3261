"""AWS Signature Version 4, checked as S3 checks it: headers, presigned queries and chunks.

Source: "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import urllib.parse
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sandbox.s3.errors import S3Error
from sandbox.s3.messages.request import Request

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
EMPTY_SHA256 = hashlib.sha256().hexdigest()
MAX_SKEW_SECONDS = 15 * 60
MAX_EXPIRES_SECONDS = 7 * 24 * 3600

_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")
_PRESIGNED_FIELDS = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
)


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key: str
    secret_key: str = field(repr=False)


@dataclass(slots=True)
class ChunkSigner:
    """The chain of chunk signatures of one streaming upload."""

    key: bytes = field(repr=False)
    timestamp: str
    scope: str
    previous: str

    def check_chunk(self, data_sha256: str, signature: str) -> None:
        self._check("PAYLOAD", f"{EMPTY_SHA256}\n{data_sha256}", signature)

    def check_trailer(self, trailer_sha256: str, signature: str) -> None:
        self._check("TRAILER", trailer_sha256, signature)

    def _check(self, kind: str, hashes: str, signature: str) -> None:
        text = f"{ALGORITHM}-{kind}\n{self.timestamp}\n{self.scope}\n{self.previous}\n{hashes}"
        expected = _hmac(self.key, text).hex()
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise S3Error("SignatureDoesNotMatch")
        self.previous = expected


@dataclass(frozen=True, slots=True)
class Authorization:
    """An accepted signature; `payload_hash` says what the body must still prove."""

    payload_hash: str
    chunks: ChunkSigner


def authenticate(
    request: Request, credentials: Credentials, region: str, now: float
) -> Authorization:
    """Checks the request's signature; `now` is in seconds since the epoch."""
    header = request.headers.get("authorization")
    presigned = "X-Amz-Algorithm" in request.query or "X-Amz-Signature" in request.query
    if header is not None and presigned:
        raise S3Error(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
            "Signature query string parameter or the Authorization header should be specified",
        )
    if presigned:
        return _presigned(request, credentials, region, now)
    if header is None:
        if "AWSAccessKeyId" in request.query:
            raise _old_mechanism()
        raise S3Error("AccessDenied")
    return _signed_headers(request, header, credentials, region, now)


def _old_mechanism() -> S3Error:
    return S3Error(
        "InvalidRequest",
        "The authorization mechanism you have provided is not supported. "
        "Please use AWS4-HMAC-SHA256.",
    )


def _signed_headers(
    request: Request, header: str, credentials: Credentials, region: str, now: float
) -> Authorization:
    algorithm, _, rest = header.partition(" ")
    if algorithm != ALGORITHM:
        raise _old_mechanism()
    malformed = "AuthorizationHeaderMalformed"
    fields = dict(item.strip().partition("=")[::2] for item in rest.split(","))
    if not {"Credential", "SignedHeaders", "Signature"} <= fields.keys():
        raise S3Error(malformed)
    timestamp = request.headers.get("x-amz-date")
    moment = _moment(timestamp or "")
    if timestamp is None or moment is None:
        raise S3Error(
            "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header"
        )
    scope = _scope(fields["Credential"], credentials, region, timestamp[:8], malformed)
    if abs(now - moment) > MAX_SKEW_SECONDS:
        raise S3Error(
            "RequestTimeTooSkewed",
            RequestTime=timestamp,
            ServerTime=_iso(now),
            MaxAllowedSkewMilliseconds=str(MAX_SKEW_SECONDS * 1000),
        )
    payload_hash = request.headers.get("x-amz-content-sha256")
    if payload_hash is None:
        raise S3Error(
            "InvalidRequest", "Missing required header for this request: x-amz-content-sha256"
        )
    names, signature = fields["SignedHeaders"], fields["Signature"]
    return _verify(request, credentials, scope, timestamp, names, signature, payload_hash)


def _presigned(
    request: Request, credentials: Credentials, region: str, now: float
) -> Authorization:
    query = request.query
    code = "AuthorizationQueryParametersError"
    if any(name not in query for name in _PRESIGNED_FIELDS):
        raise S3Error(
            code,
            "Query-string authentication version 4 requires the X-Amz-Algorithm, "
            "X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and "
            "X-Amz-Expires parameters.",
        )
    if len({name for name, _ in request.pairs}) != len(request.pairs):
        raise S3Error(code, "Duplicate query parameters are not allowed.")
    if query["X-Amz-Algorithm"] != ALGORITHM:
        raise S3Error(code, 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"')
    timestamp, expires = query["X-Amz-Date"], query["X-Amz-Expires"]
    moment = _moment(timestamp)
    if moment is None:
        raise S3Error(
            code, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""
        )
    if not (expires.isascii() and expires.isdigit() and len(expires) < 10):
        raise S3Error(code, "X-Amz-Expires should be a number")
    if not 0 < int(expires) <= MAX_EXPIRES_SECONDS:
        raise S3Error(
            code,
            "X-Amz-Expires must be less than a week (in seconds); that is, the given "
            "X-Amz-Expires must be less than 604800 seconds",
        )
    scope = _scope(query["X-Amz-Credential"], credentials, region, timestamp[:8], code)
    if moment - now > MAX_SKEW_SECONDS:
        raise S3Error("AccessDenied", "Request is not yet valid")
    if now > moment + int(expires):
        raise S3Error(
            "AccessDenied",
            "Request has expired",
            X_Amz_Expires=expires,
            Expires=_iso(moment + int(expires)),
            ServerTime=_iso(now),
        )
    names = query["X-Amz-SignedHeaders"]
    payload_hash = request.headers.get("x-amz-content-sha256", UNSIGNED)
    return _verify(
        request, credentials, scope, timestamp, names, query["X-Amz-Signature"], payload_hash
    )


def _scope(credential: str, credentials: Credentials, region: str, date: str, code: str) -> str:
    access_key, _, scope = credential.partition("/")
    parts = scope.split("/")
    if len(parts) != 4 or parts[3] != "aws4_request":
        raise S3Error(
            code,
            "Error parsing the Credential; it should be "
            '"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
        )
    if not hmac.compare_digest(access_key.encode(), credentials.access_key.encode()):
        raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=access_key[:128])
    if parts[1] != region:
        # Clients read the element Region and repeat the request for that region.
        raise S3Error(
            code,
            f"The authorization is malformed; the region '{parts[1]}' is wrong; "
            f"expecting '{region}'",
            Region=region,
        )
    if parts[2] != "s3":
        raise S3Error(code, f'incorrect service "{parts[2]}". This endpoint belongs to "s3".')
    if parts[0] != date:
        raise S3Error(code, "The date in the Credential is not that of the request.")
    return scope


def _verify(
    request: Request,
    credentials: Credentials,
    scope: str,
    timestamp: str,
    signed_names: str,
    signature: str,
    payload_hash: str,
) -> Authorization:
    names = signed_names.split(";")
    unsigned = [
        name
        for name in request.headers
        if (name.startswith("x-amz-") or name == "host") and name not in names
    ]
    if unsigned or "host" not in names or not signed_names.isascii():
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(sorted(unsigned)),
        )
    if not _HEX_SHA256.fullmatch(payload_hash) and payload_hash not in (
        UNSIGNED,
        STREAMING_UNSIGNED_TRAILER,
        STREAMING_SIGNED,
        STREAMING_SIGNED_TRAILER,
    ):
        raise S3Error(
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- value or a valid "
            "sha256 value.",
            ArgumentName="x-amz-content-sha256",
        )
    canonical = _canonical_request(request, signed_names, payload_hash)
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    to_sign = f"{ALGORITHM}\n{timestamp}\n{scope}\n{digest}"
    key = signing_key(credentials.secret_key, scope)
    expected = _hmac(key, to_sign).hex()
    if not hmac.compare_digest(expected.encode(), signature.encode("latin-1", "replace")):
        raise S3Error("SignatureDoesNotMatch", StringToSign=to_sign, CanonicalRequest=canonical)
    if "x-amz-security-token" in request.headers or "X-Amz-Security-Token" in request.query:
        raise S3Error("InvalidToken")
    return Authorization(payload_hash, ChunkSigner(key, timestamp, scope, expected))


def _canonical_request(request: Request, signed_names: str, payload_hash: str) -> str:
    headers = "".join(
        f"{name}:{' '.join(request.headers.get(name, '').split())}\n"
        for name in signed_names.split(";")
    )
    pairs = sorted(
        (uri_encode(name), uri_encode(value))
        for name, value in request.pairs
        if name != "X-Amz-Signature"
    )
    query = "&".join(f"{name}={value}" for name, value in pairs)
    path = uri_encode(request.path, safe="/")
    return "\n".join((request.method, path, query, headers, signed_names, payload_hash))


def signing_key(secret_key: str, scope: str) -> bytes:
    """The key of a scope "date/region/service/aws4_request"."""
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def uri_encode(text: str, safe: str = "") -> str:
    """Percent-encoding as Signature Version 4 wants it: all but RFC 3986's unreserved."""
    return urllib.parse.quote(text, safe=safe + "-._~")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _moment(timestamp: str) -> float | None:
    if not re.fullmatch(r"\d{8}T\d{6}Z", timestamp, re.ASCII):
        return None
    try:
        return datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
