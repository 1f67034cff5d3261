"""Receives the parts of the editor's form: files go straight to the bucket, texts are kept."""

from __future__ import annotations

import mimetypes
from concurrent.futures import ThreadPoolExecutor

from gateway.base.problems import FieldProblem, ProblemError
from gateway.base.settings import GatewaySettings
from gateway.bucket.objects import ObjectWriter, target_of
from gateway.forms.multipart import PartHead
from gateway.jobs.request_mapping import LONGEST_JSON
from pro_video.core.job_names import AUDIO_EXTENSIONS, VIDEO_EXTENSIONS, extension
from pro_video.core.settings import get_settings
from pro_video.s3.storage import Storage

TEXTS = ("segments_data", "effects", "display_name", "options", "webhook")
FILES = ("file", "audio_files")


class FormReceiver:
    """A :class:`gateway.forms.multipart.PartSink` for one form.

    Args:
        storage: the bucket.
        threads: for blocking requests to it.
        prefix: where the files go; names of the client's files do not enter into keys.
        room: bytes that the owner may still store.

    Attributes:
        texts: the text fields by name.
        video: key of the video, when it came.
        audios: keys of the audio files in their order.
        digests: of the parts, for the fingerprint of the request.
        problems: of single parts.
    """

    def __init__(
        self,
        storage: Storage,
        threads: ThreadPoolExecutor,
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
        self._threads = threads
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
            self._writer = self._open(self.video, "file", self._video_limit)
        elif head.name == "audio_files":
            number = len(self.audios) + 1
            if number > get_settings().max_segments:
                raise ProblemError(
                    413,
                    "too_many_files",
                    f"A job takes {get_settings().max_segments} audio files at most.",
                )
            self.audios.append(self._key(f"audio-{number}", head, AUDIO_EXTENSIONS))
            self._writer = self._open(
                self.audios[-1], f"audio_files[{number - 1}]", self._settings.max_audio_bytes
            )

    async def data(self, data: bytes) -> None:
        if self._writer is not None:
            self.stored += len(data)
            if self.stored > self._room:
                raise no_room(self._settings)
            await self._writer.write(data)
        elif self._text is not None:
            name, text = self._text
            if len(text) + len(data) > LONGEST_JSON:
                raise ProblemError(
                    413, "field_too_large", f"{name} may have {LONGEST_JSON} bytes at most."
                )
            text += data

    async def end(self) -> None:
        writer, self._writer = self._writer, None
        text, self._text = self._text, None
        if text is not None:
            self.texts[text[0]] = bytes(text[1])
        if writer is not None:
            name = "file" if writer.target.key == self.video else f"audio_files[{self._last}]"
            if writer.size == 0:
                self._problem(name, "empty", "is an empty file")
                return
            self._writer = writer  # so that close() aborts it when finishing fails
            await writer.finish()
            self._writer = None
            self.digests[name] = f"{writer.size}:{writer.sha256}"

    async def close(self) -> None:
        """Abort a file that was not received whole."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()

    @property
    def _last(self) -> int:
        return len(self.audios) - 1

    @property
    def _video_limit(self) -> int:
        return get_settings().max_source_bytes

    def _key(self, stem: str, head: PartHead, known: frozenset[str]) -> str:
        name = (head.filename or "").replace("\\", "/").rpartition("/")[2]
        return f"{self._prefix}{stem}.{extension(name, known)}"

    def _open(self, key: str, name: str, max_bytes: int) -> ObjectWriter:
        content_type = mimetypes.guess_type(key)[0] or "application/octet-stream"
        target = target_of(self._storage, key, content_type)
        return ObjectWriter(target, self._threads, max_bytes=max_bytes, name=name)

    def _problem(self, field: str, code: str, message: str) -> None:
        self.problems.append(FieldProblem(field=field, code=code, message=message))


def no_room(settings: GatewaySettings) -> ProblemError:
    """429 for an owner whose uploads take all the bytes that they may."""
    return ProblemError(
        429,
        "storage_limit",
        f"Your uploads may take {settings.stored_bytes} bytes in all. Remove some, or wait until "
        "old ones expire.",
        retry_after=3600,
    )
