"""The findings about the pictures of a result, from all compared moments together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc

from pro_video.judging.findings import Finding
from pro_video.judging.picture.comparison import Comparison, compare
from pro_video.judging.picture.frame_pairs import FramePair, frame_pairs
from pro_video.judging.picture.framing import Framing, find_framing, reframed
from pro_video.judging.picture.grids import Shape, joined
from pro_video.judging.picture.identity import (
    WIDE_REACH,
    lightness_change,
    mismatch,
    orientation_finding,
    reframed_finding,
)
from pro_video.judging.picture.unwanted_changes import (
    BORDER,
    border_of,
    changes_outside,
    marks_added,
)
from pro_video.media.info import VideoStream
from pro_video.media.reading.open import Source

_HDR: Final = frozenset({int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67)})


@dataclass
class VideoPair:
    """A source and its result, compared moment by moment.

    Attributes:
        length: of the result in seconds.
        retoned: has any moment different dynamic ranges?
    """

    before: Source
    after: Source
    source: VideoStream
    length: float
    shape: Shape
    framing: Framing
    retoned: bool = False

    @classmethod
    def of(
        cls,
        before: Source,
        after: Source,
        source: VideoStream,
        result: VideoStream,
        length: float,
        instant: float,
        shown: float,
        cell: int,
    ) -> VideoPair:
        """``instant`` and ``shown`` are the same moment of both, near the middle."""
        sizes = (source.width, source.height), (result.width, result.height)
        shape = Shape.of(*sizes, cell=cell)
        found = find_framing(
            before,
            after,
            source=source,
            result=result,
            shape=shape,
            instant=instant,
            shown=shown,
        )
        return cls(before, after, source, length, shape, found)

    def frame_pairs(
        self, instants: Sequence[float], shown: Sequence[float], reach: float | None = None
    ) -> Iterator[FramePair]:
        """The frames of both files at these moments, in order."""
        for pair in frame_pairs(
            self.before,
            self.after,
            instants,
            shown,
            video=self.source,
            shape=self.shape,
            parts=self.framing.parts,
            reach=reach,
        ):
            self.retoned = self.retoned or _hdr(pair.before) != _hdr(pair.after)
            yield pair

    def mismatch(self, comparisons: Sequence[Comparison]) -> list[Finding] | None:
        """Findings when the result does not show its source upright; None when it does."""
        if self.framing.turned is not None:
            return [orientation_finding(self.framing.turned, self.length, 1.0)]
        found = mismatch(comparisons, self._search, self.length)
        if found is not None and found.unusable and self._reframed(comparisons):
            found = reframed_finding(self.length)
        return None if found is None else [found]

    def _reframed(self, comparisons: Sequence[Comparison]) -> bool:
        """Does a moment show the same picture in another framing?"""
        some = [each for each in comparisons if each.similarity is not None][
            :: max(1, len(comparisons) // 2)
        ]
        instants, shown = (
            [each.instant for each in some],
            [each.shown for each in some],
        )
        return any(reframed(pair, self.shape) for pair in self.frame_pairs(instants, shown))

    def _search(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        """The same moments, against more of the source around them."""
        instants, shown = (
            [each.instant for each in comparisons],
            [each.shown for each in comparisons],
        )
        free = border_of(self.shape)
        return [
            compare(pair, self.shape, free)
            for pair in self.frame_pairs(instants, shown, WIDE_REACH)
        ]

    def lightness(self, comparisons: Sequence[Comparison]) -> list[Finding]:
        """A change of lightness, unless the dynamic range differs."""
        return [] if self.retoned else lightness_change(comparisons, self.length)

    def unwanted_changes(
        self, kept: Sequence[Comparison], comparisons: Sequence[Comparison], stage: str
    ) -> list[Finding]:
        """Added marks, and other changes outside the parts that may change.

        Args:
            kept: moments in which part of the picture has to stay as it is.
            comparisons: all moments. Only many moments show a faint mark in front of movement, so
                all of them are searched for marks near the edges.
            stage: names the work in messages.
        """
        if not self.framing.exact:
            return []
        marks = marks_added(kept, self.shape, self.length, retoned=self.retoned)
        if not marks:
            marks = marks_added(
                comparisons, self.shape, self.length, retoned=self.retoned, anything_else=True
            )
        boxes = [finding.region for finding in marks if finding.region is not None]
        known = self.shape.covered(boxes, BORDER)
        rest = [replace(each, free=joined(each.free, known)) for each in kept]
        return marks + changes_outside(rest, self.shape, self.length, stage, retoned=self.retoned)


def _hdr(frame: VideoFrame) -> bool:
    """Has the frame a high dynamic range? Another range shows it with other lightness."""
    return frame.color_trc in _HDR
