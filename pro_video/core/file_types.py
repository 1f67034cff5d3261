"""The type of a file by its first bytes, for its name in the bucket and in a refusal.

File names and declared media types are ignored. Signatures are those of the formats'
specifications, as also collected by libmagic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

HEAD_BYTES: Final = 64 * 1024
"""First bytes of a file that are enough to tell its type."""
_TS_PACKETS: Final = (188, 192)
"""Packet sizes of MPEG transport streams: plain, and with the timestamps of camcorders."""

Role = Literal["video", "audio"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A file format.

    Attributes:
        name: completes "it is …".
        extension: of files with a picture, or of all files.
        video_type: media type of files with a picture; None when the format has none.
        audio_type: media type of files with sound alone; None when the format has none.
        audio_extension: extension of files with sound alone, when it differs.
    """

    name: str
    extension: str
    video_type: str | None = None
    audio_type: str | None = None
    audio_extension: str | None = None

    @property
    def readable(self) -> bool:
        """Is the format supported?"""
        return self.video_type is not None or self.audio_type is not None

    def stored_as(self, role: Role) -> tuple[str, str]:
        """Extension and media type of a file used as video or as audio."""
        if role == "audio" and self.audio_type is not None:
            return self.audio_extension or self.extension, self.audio_type
        return self.extension, self.video_type or self.audio_type or "application/octet-stream"


UNKNOWN: Final = Kind("a file of an unknown kind", "bin")
MP4: Final = Kind("an MP4 file", "mp4", "video/mp4", "audio/mp4", "m4a")
M4A: Final = Kind("an M4A file", "m4a", None, "audio/mp4")
MOV: Final = Kind("a QuickTime file", "mov", "video/quicktime", "audio/mp4", "m4a")
WEBM: Final = Kind("a WebM file", "webm", "video/webm", "audio/webm")
MKV: Final = Kind("a Matroska file", "mkv", "video/x-matroska", "audio/x-matroska", "mka")
AVI: Final = Kind("an AVI file", "avi", "video/x-msvideo")
WAV: Final = Kind("a WAV file", "wav", None, "audio/wav")
W64: Final = Kind("a Wave64 file", "w64", None, "audio/x-w64")
AIFF: Final = Kind("an AIFF file", "aiff", None, "audio/aiff")
MP3: Final = Kind("an MP3 file", "mp3", None, "audio/mpeg")
OGG: Final = Kind("an Ogg file", "ogg", "video/ogg", "audio/ogg")
FLAC: Final = Kind("a FLAC file", "flac", None, "audio/flac")
AAC: Final = Kind("an AAC file", "aac", None, "audio/aac")

TRANSPORT_STREAM: Final = Kind("an MPEG transport stream", "ts")
_PROGRAM_STREAM: Final = Kind("an MPEG program stream", "mpg")
_IMAGE: Final = "an image"
_PAGE: Final = Kind("a web page", "html")
_PLAYLIST: Final = Kind("a playlist", "m3u8")
_TEXT: Final = Kind("a text file", "txt")
TEXTS: Final = (_PAGE, _PLAYLIST, _TEXT)

_SIGNATURES: Final = (
    (b"fLaC", FLAC),
    (b"OggS", OGG),
    (b"riff\x2e\x91\xcf\x11", W64),
    (b"\x00\x00\x01\xba", _PROGRAM_STREAM),
    (b"\x00\x00\x01\xb3", Kind("an MPEG video stream without a container", "m2v")),
    (b"\x00\x00\x00\x01\x67", Kind("an H.264 stream without a container", "h264")),
    (b"\x00\x00\x00\x01\x40", Kind("an HEVC stream without a container", "hevc")),
    (b"FLV\x01", Kind("a Flash video", "flv")),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Kind("a Windows Media file", "wmv")),
    (b".RMF", Kind("a RealMedia file", "rm")),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", Kind("an MXF file", "mxf")),
    (b"caff", Kind("a Core Audio file", "caf")),
    (b"#!AMR", Kind("an AMR file", "amr")),
    (b".snd", Kind("an AU file", "au")),
    (b"wvpk", Kind("a WavPack file", "wv")),
    (b"MAC ", Kind("a Monkey's Audio file", "ape")),
    (b"\x0b\x77", Kind("an AC-3 file", "ac3")),
    (b"MThd", Kind("a MIDI file", "mid")),
    (b"GIF8", Kind(_IMAGE + " (GIF)", "gif")),
    (b"\x89PNG\r\n", Kind(_IMAGE + " (PNG)", "png")),
    (b"\xff\xd8\xff", Kind(_IMAGE + " (JPEG)", "jpg")),
    (b"II*\x00", Kind(_IMAGE + " (TIFF)", "tif")),
    (b"MM\x00*", Kind(_IMAGE + " (TIFF)", "tif")),
    (b"8BPS", Kind(_IMAGE + " (Photoshop)", "psd")),
    (b"%PDF-", Kind("a PDF document", "pdf")),
    (b"PK\x03\x04", Kind("a ZIP archive", "zip")),
    (b"\x1f\x8b", Kind("a gzip archive", "gz")),
    (b"7z\xbc\xaf", Kind("a 7z archive", "7z")),
    (b"Rar!", Kind("a RAR archive", "rar")),
)
_PICTURE_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"mif1", b"msf1", b"avif", b"avis"})
_AUDIO_BRANDS: Final = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A "})
_BOXES: Final = frozenset({b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"})


def kind_of(head: bytes) -> Kind:
    """The type of a file with these first bytes; `HEAD_BYTES` of them are enough."""
    for detect in _DETECTORS:
        found = detect(head)
        if found is not None:
            return found
    return UNKNOWN


def _by_signature(head: bytes) -> Kind | None:
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)


def _boxes(head: bytes) -> Kind | None:
    name, brand = head[4:8], head[8:12]
    if name == b"styp":
        return MP4
    if name != b"ftyp":
        return MOV if name in _BOXES else None
    if brand in _PICTURE_BRANDS:
        return Kind(_IMAGE + " (HEIF)", "heic")
    if brand in _AUDIO_BRANDS:
        return M4A
    return MOV if brand == b"qt  " else MP4


def _ebml(head: bytes) -> Kind | None:
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    return WEBM if b"webm" in head[:64] else MKV


def _riff(head: bytes) -> Kind | None:
    form = head[8:12]
    if head[:4] in {b"RIFF", b"RIFX", b"RF64", b"BW64"} and form == b"WAVE":
        return WAV
    if head[:4] == b"RIFF":
        return {b"AVI ": AVI, b"WEBP": Kind(_IMAGE + " (WebP)", "webp")}.get(form)
    return AIFF if head[:4] == b"FORM" and form in {b"AIFF", b"AIFC"} else None


def _transport_stream(head: bytes) -> Kind | None:
    for length in _TS_PACKETS:
        first = length - 188
        if len(head) >= first + 2 * length + 1 and all(
            head[place] == 0x47
            for place in range(first, min(len(head), first + 5 * length), length)
        ):
            return TRANSPORT_STREAM
    return None


def tag_length(head: bytes) -> int:
    """Bytes of the ID3 tag before the sound, 0 without one; the tag's size is stored in seven bits
    of four bytes."""
    if not head.startswith(b"ID3") or len(head) < 10:
        return 0
    return 10 + sum((head[6 + place] & 0x7F) << (7 * (3 - place)) for place in range(4))


def _frames(head: bytes) -> Kind | None:
    """MPEG audio, after a tag if there is one."""
    start = tag_length(head)
    sync = head[start : start + 2]
    if len(sync) == 2 and sync[0] == 0xFF and sync[1] & 0xE0 == 0xE0:
        # Layer 0 is reserved in MPEG audio and means AAC.
        return AAC if sync[1] & 0xF6 == 0xF0 else MP3
    if head[start : start + 4] == b"fLaC":
        return FLAC
    return MP3 if start else None


def _text(head: bytes) -> Kind | None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:16].lower()
    if text.startswith((b"<!doc", b"<html", b"<?xml", b"<head")):
        return _PAGE
    if text.startswith(b"#extm3u"):
        return _PLAYLIST
    return _TEXT if text.startswith((b"{", b"[", b"webvtt", b"1\r\n00:", b"1\n00:")) else None


_DETECTORS: Final[tuple[Callable[[bytes], Kind | None], ...]] = (
    _by_signature,
    _boxes,
    _ebml,
    _riff,
    _transport_stream,
    _frames,
    _text,
)
