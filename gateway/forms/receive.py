"""Receives the parts of the editor's form: files are stored in the bucket, texts in memory."""

from __future__ import annotations

import mimetypes

from gateway.base.json_body import LONGEST_JSON
from gateway.base.problems import FieldProblem, ProblemError
from gateway.base.settings import GatewaySettings
from gateway.bucket.object_writer import ObjectWriter
from gateway.forms.multipart import PartHead
from gateway.uploads.usage import storage_full
from pro_video.core.job_names import AUDIO_EXTENSIONS, VIDEO_EXTENSIONS, extension
from pro_video.core.settings import get_settings
from pro_video.s3.storage import Storage

TEXTS = ("segments_data", "effects", "display_name", "options", "webhook")
FILES = ("file", "audio_files")


class FormReceiver:
    """A :class:`gateway.forms.multipart.PartSink` for one form.

    Args:
        storage: the bucket.
        settings: the limits of a form.
        prefix: of the files' keys; the client's file names do not enter into them.
        room: bytes that the owner may still store.

    Attributes:
        texts: the text fields by name.
        video: key of the video; None before it arrives.
        audios: keys of the audio files in their order.
        digests: of the parts, for the fingerprint of the request.
        problems: of single parts.
        stored: bytes of the files so far.
    """

    def __init__(
        self,
        storage: Storage,
        settings: GatewaySettings,
        *,
        prefix: str,
        room: int,
    ) -> None:
        self.texts: dict[str, bytes] = {}
        self.video: str | None = None
        self.audios: list[str] = []
        self.digests: dict[str, str] = {}
        self.problems: list[FieldProblem] = []
        self.stored = 0
        self._storage = storage
        self._settings = settings
        self._prefix = prefix
        self._room = room
        self._text: tuple[str, bytearray] | None = None
        self._writer: ObjectWriter | None = None

    async def begin(self, head: PartHead) -> None:
        if head.name in TEXTS:
            if head.name in self.texts:
                self._problem(head.name, "duplicate", "is given more than once")
            self._text = (head.name, bytearray())
        elif head.name in FILES and head.filename is None:
            self._problem(head.name, "not_a_file", "must be a file")
        elif head.name == "file":
            if self.video is not None:
                self._problem("file", "duplicate", "is given more than once; send one video")
                return
            self.video = self._key("video", head, VIDEO_EXTENSIONS)
            self._writer = self._open(self.video, "file", get_settings().max_source_bytes)
        elif head.name == "audio_files":
            number = len(self.audios) + 1
            if number > get_settings().max_segments:
                raise ProblemError(
                    413,
                    "too_many_files",
                    f"A job takes {get_settings().max_segments} audio files at most. Nothing of "
                    "the form was kept.",
                )
            self.audios.append(self._key(f"audio-{number}", head, AUDIO_EXTENSIONS))
            self._writer = self._open(
                self.audios[-1], f"audio_files[{number - 1}]", self._settings.max_audio_bytes
            )

    async def data(self, data: bytes) -> None:
        if self._writer is not None:
            self.stored += len(data)
            if self.stored > self._room:
                raise storage_full(self._settings)
            await self._writer.write(data)
        elif self._text is not None:
            name, text = self._text
            if len(text) + len(data) > LONGEST_JSON:
                raise ProblemError(
                    413,
                    "field_too_large",
                    f"{name} has more than {LONGEST_JSON} bytes. Nothing of the form was kept.",
                )
            text += data

    async def end(self) -> None:
        writer, self._writer = self._writer, None
        text, self._text = self._text, None
        if text is not None:
            self.texts[text[0]] = bytes(text[1])
        if writer is not None:
            name = (
                "file"
                if writer.target.key == self.video
                else f"audio_files[{len(self.audios) - 1}]"
            )
            if writer.size == 0:
                self._problem(name, "empty", "is an empty file")
                return
            # Until it is finished, `close` has to abort it.
            self._writer = writer
            await writer.finish()
            self._writer = None
            self.digests[name] = f"{writer.size}:{writer.sha256}"

    async def close(self) -> None:
        """Abort a file that did not arrive whole."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()

    def _key(self, stem: str, head: PartHead, known: frozenset[str]) -> str:
        name = (head.filename or "").replace("\\", "/").rpartition("/")[2]
        return f"{self._prefix}{stem}.{extension(name, known)}"

    def _open(self, key: str, name: str, max_bytes: int) -> ObjectWriter:
        content_type = mimetypes.guess_type(key)[0] or "application/octet-stream"
        target = self._storage.target(key, content_type)
        return ObjectWriter(target, max_bytes=max_bytes, name=name)

    def _problem(self, field: str, code: str, message: str) -> None:
        self.problems.append(FieldProblem(field=field, code=code, message=message))
