"""Where videos and audios may come from, and that no answer repeats the address."""

from __future__ import annotations

import pytest

from pro_video.core.errors import RequestRefused
from pro_video.request.check import check_request


def check(source: str, *, local: bool = False) -> None:
    segment = {"start": 0, "end": 1, "audio": source}
    check_request(
        {"video": "s3://bucket/in.mp4", "segments": [segment]},
        max_segments=1,
        allow_local_files=local,
    )


@pytest.mark.parametrize(
    "source",
    [
        "s3://bucket/key.wav",
        "s3://my.bucket-1/a/b c/ключ.wav",
        "https://media.example.com/a.wav?X-Amz-Signature=abc",
        "http://127.0.0.1:9000/a.wav",
        "HTTPS://EXAMPLE.COM/a.wav",
    ],
)
def test_addresses_that_are_taken(source: str) -> None:
    check(source)


def test_local_files_are_taken_where_the_worker_allows_them() -> None:
    check("/data/clips/line 1.wav", local=True)
    with pytest.raises(RequestRefused) as caught:
        check("/data/clips/line 1.wav")
    assert caught.value.problems[0].code == "source_local"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("", "source_missing"),
        ("   ", "source_missing"),
        ("file:///etc/passwd", "source_scheme"),
        ("ftp://example.com/SECRET", "source_scheme"),
        ("data:audio/wav;base64,SECRET", "source_scheme"),
        ("gopher://example.com/SECRET", "source_scheme"),
        ("https://user:SECRET@example.com/a.wav", "source_credentials"),
        ("https://SECRET@example.com/a.wav", "source_credentials"),
        ("https://@example.com/a.wav", "source_credentials"),
        ("https:///a.wav?token=SECRET", "source_malformed"),
        ("https:a.wav", "source_malformed"),
        ("https://example.com:99999/SECRET", "source_malformed"),
        ("https://[::1/SECRET", "source_malformed"),
        ("https://exa mple.com/SECRET", "source_malformed"),
        ("https://example.com/SECRET\r\nHost: x", "source_characters"),
        ("https://example.com/SECRET\x00", "source_characters"),
        ("s3://bucket", "source_malformed"),
        ("s3://bucket/", "source_malformed"),
        ("s3:///SECRET", "source_malformed"),
        ("s3://Bucket/SECRET", "source_malformed"),
        ("s3://u:SECRET@bucket/key", "source_malformed"),
        ("s3://bucket/" + "k" * 1025, "source_malformed"),
        ("https://example.com/" + "SECRET" * 1000, "source_too_long"),
        ("clips/SECRET.wav", "source_relative"),
        ("~/SECRET.wav", "source_relative"),
        ("C:\\SECRET.wav", "source_relative"),
        ("/data/../SECRET", "source_relative"),
    ],
)
def test_addresses_that_are_refused(source: str, code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        check(source, local=True)
    assert [(p.field, p.code) for p in caught.value.problems] == [("segments[0].audio", code)]
    assert "SECRET" not in str(caught.value)
