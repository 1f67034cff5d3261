"""Joins and compares pictures with libav's filters.

Boxes are fractions of the displayed frame: left, top, right, bottom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from av.codec import CodecContext
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from pro_video.media.reading.orientation import Orientation

Box = tuple[float, float, float, float]
WHOLE: Final[Box] = (0.0, 0.0, 1.0, 1.0)
COMPARED_WIDTH: Final = 640
_BLOCK: Final = 8


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two pictures in a box, in grey levels (0 to 255).

    Attributes:
        mean: of all pixels.
        peak: of the block of about 8x8 pixels that differs most: low for encoding noise, high for a
            removed letter.
        contrast: lightest minus darkest block of the first picture; 0 for an even surface.
    """

    mean: float
    peak: float
    contrast: float


def displayed_size(frame: VideoFrame) -> tuple[int, int]:
    """Displayed width and height."""
    return Orientation.of(frame).size(frame.width, frame.height)


def difference(before: VideoFrame, after: VideoFrame, box: Box = WHOLE) -> Difference:
    """Compare a box of two pictures of any sizes, at most 640 pixels wide."""
    width, height = displayed_size(before)
    wide, high = (box[2] - box[0]) * width, (box[3] - box[1]) * height
    scale = min(1.0, COMPARED_WIDTH / max(wide, 1.0))
    size = max(_BLOCK, round(wide * scale)), max(_BLOCK, round(high * scale))
    blocks = f"{max(1, size[0] // _BLOCK)}:{max(1, size[1] // _BLOCK)}:flags=area"

    canvas = _Canvas()
    first, second = (
        canvas.chain(
            canvas.upright(frame),
            ("crop", _crop(box)),
            ("scale", f"{size[0]}:{size[1]}:flags=area:out_range=full"),
            ("format", "gray"),
            ("setsar", "1"),
        )
        for frame in (before, after)
    )
    split = canvas.chain(first, ("split", "2"))
    blend = canvas.graph.add("blend", all_mode="difference")
    split.link_to(blend, 0, 0)
    second.link_to(blend, 0, 1)
    original = canvas.graph.add("scale", blocks)
    split.link_to(original, 1, 0)
    differing, lightness = (
        _values(picture)
        for picture in canvas.render(canvas.chain(blend, ("scale", blocks)), original)
    )
    return Difference(
        mean=sum(differing) / len(differing),
        peak=float(max(differing)),
        contrast=float(max(lightness) - min(lightness)),
    )


def thumbnail(frame: VideoFrame, width: int, height: int | None = None) -> VideoFrame:
    """A small picture as a player shows it, in square pixels, without references to ``frame``.

    Args:
        frame: of any size.
        width, height: in pixels; without a height, the shape of the displayed frame is kept.
    """
    shown_width, shown_height = displayed_size(frame)
    if height is None:
        height = max(2, round(width * shown_height / shown_width / 2) * 2)
    canvas = _Canvas()
    tail = canvas.chain(
        canvas.upright(frame),
        ("scale", f"{width}:{height}:flags=area:out_range=full"),
        ("setsar", "1"),
        ("format", "yuvj420p"),
    )
    return canvas.render(tail)[0]


def contact_sheet(pairs: Sequence[tuple[VideoFrame, VideoFrame]]) -> bytes:
    """A JPEG with one row for each pair of thumbnails, all of one size.

    Raises:
        ValueError: no pairs.
    """
    if not pairs:
        raise ValueError("a contact sheet needs at least one pair of pictures")
    canvas = _Canvas()
    rows: list[FilterContext] = []
    for pair in pairs:
        row = canvas.graph.add("hstack", inputs="2")
        for place, frame in enumerate(pair):
            # The thumbnail is upright; its frame still has the display matrix.
            canvas.stored(frame).link_to(row, 0, place)
        rows.append(row)
    tail = rows[0]
    if len(rows) > 1:
        tail = canvas.graph.add("vstack", inputs=str(len(rows)))
        for place, row in enumerate(rows):
            row.link_to(tail, 0, place)
    return _jpeg(canvas.render(tail)[0])


class _Canvas:
    """A filter graph over single pictures of any time and size."""

    def __init__(self) -> None:
        self.graph = Graph()
        self._sources: list[tuple[FilterContext, VideoFrame]] = []

    def upright(self, frame: VideoFrame) -> FilterContext:
        """A source of the picture as displayed, at time 0."""
        return self.chain(self.stored(frame), *Orientation.of(frame).filters)

    def stored(self, frame: VideoFrame) -> FilterContext:
        """A source of the picture as stored, at time 0."""
        source = self.graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base or Fraction(1, 1000),
        )
        self._sources.append((source, frame))
        return self.chain(source, ("setpts", "0"))

    def chain(self, head: FilterContext, *filters: tuple[str, str]) -> FilterContext:
        for name, arguments in filters:
            following = self.graph.add(name, arguments)
            head.link_to(following)
            head = following
        return head

    def render(self, *tails: FilterContext) -> list[VideoFrame]:
        sinks = [self.graph.add("buffersink") for _ in tails]
        for tail, sink in zip(tails, sinks, strict=True):
            tail.link_to(sink)
        self.graph.configure()
        for source, frame in self._sources:
            source.push(frame)
            source.push(None)
        pictures = []
        for sink in sinks:
            picture = sink.pull()
            assert isinstance(picture, VideoFrame)
            pictures.append(picture)
        return pictures


def _crop(box: Box) -> str:
    left, top, right, bottom = box
    return f"iw*{right - left:.6f}:ih*{bottom - top:.6f}:iw*{left:.6f}:ih*{top:.6f}:exact=1"


def _jpeg(picture: VideoFrame) -> bytes:
    encoder = CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    # The encoder's scale from 1 (best) to 31; 4 is about quality 85 of other encoders.
    encoder.qmin = encoder.qmax = 4
    packets = [*encoder.encode(picture), *encoder.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def _values(picture: VideoFrame) -> list[int]:
    plane = picture.planes[0]
    data = bytes(plane)
    return [
        value
        for row in range(plane.height)
        for value in data[row * plane.line_size : row * plane.line_size + plane.width]
    ]
