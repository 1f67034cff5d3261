"""The findings about the pictures of a result, from all compared moments together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc

from pro_video.judging.findings import Finding
from pro_video.judging.picture.comparison import Comparison, compare
from pro_video.judging.picture.frame_pairs import FramePair, Videos, frame_pairs
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

_HDR: Final = frozenset({int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67)})


@dataclass
class VideoPair:
    """A source and its result, compared moment by moment.

    Attributes:
        videos: the two.
        shape: of the grids.
        framing: the parts that are compared.
        retoned: has any moment different dynamic ranges?
    """

    videos: Videos
    shape: Shape
    framing: Framing
    retoned: bool = False

    @classmethod
    def of(cls, videos: Videos, instant: float, shown: float, cell: int) -> VideoPair:
        """``instant`` and ``shown`` are the same moment of both, near the middle."""
        shape = Shape.of(*videos.sizes, cell=cell)
        return cls(videos, shape, find_framing(videos, shape, instant, shown))

    def frame_pairs(
        self, instants: Sequence[float], shown: Sequence[float], reach: float | None = None
    ) -> Iterator[FramePair]:
        """The frames of both files at these moments, in order."""
        parts = self.framing.parts
        for pair in frame_pairs(
            self.videos, instants, shown, shape=self.shape, parts=parts, reach=reach
        ):
            self.retoned = self.retoned or _hdr(pair.before) != _hdr(pair.after)
            yield pair

    def _pairs_of(
        self, comparisons: Sequence[Comparison], reach: float | None = None
    ) -> Iterator[FramePair]:
        instants = [each.instant for each in comparisons]
        return self.frame_pairs(instants, [each.shown for each in comparisons], reach)

    def mismatch(self, comparisons: Sequence[Comparison]) -> list[Finding] | None:
        """Findings when the result does not show its source upright; None when it does."""
        if self.framing.turned is not None:
            return [orientation_finding(self.framing.turned, self.videos.length, 1.0)]
        found = mismatch(comparisons, self._search, self.videos.length)
        if found is not None and found.unusable and self._reframed(comparisons):
            found = reframed_finding(self.videos.length)
        return None if found is None else [found]

    def _reframed(self, comparisons: Sequence[Comparison]) -> bool:
        """Does a moment show the same picture in another framing?"""
        telling = [each for each in comparisons if each.similarity is not None]
        some = telling[:: max(1, len(comparisons) // 2)]
        return any(reframed(pair, self.shape) for pair in self._pairs_of(some))

    def _search(self, comparisons: Sequence[Comparison]) -> list[Comparison]:
        """The same moments, against more of the source around them."""
        free = border_of(self.shape)
        return [compare(pair, self.shape, free) for pair in self._pairs_of(comparisons, WIDE_REACH)]

    def lightness(self, comparisons: Sequence[Comparison]) -> list[Finding]:
        """A change of lightness, unless the dynamic range differs."""
        return [] if self.retoned else lightness_change(comparisons, self.videos.length)

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
        marks = marks_added(kept, self.shape, self.videos.length, retoned=self.retoned)
        if not marks:
            marks = marks_added(
                comparisons,
                self.shape,
                self.videos.length,
                retoned=self.retoned,
                anything_else=True,
            )
        boxes = [finding.region for finding in marks if finding.region is not None]
        known = self.shape.covered(boxes, BORDER)
        rest = [replace(each, free=joined(each.free, known)) for each in kept]
        return marks + changes_outside(
            rest, self.shape, self.videos.length, stage, retoned=self.retoned
        )


def _hdr(frame: VideoFrame) -> bool:
    """Has the frame a high dynamic range? Another range shows it with other lightness."""
    return frame.color_trc in _HDR
