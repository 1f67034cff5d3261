"""The findings about the pictures of a result, from all its moments together with its source's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc

from pro_video.judging.findings import Finding
from pro_video.judging.picture.grids import Shape, joined
from pro_video.judging.picture.identity import (
    WIDE_REACH,
    lighter,
    orientation_finding,
    reframed_finding,
    unlike,
)
from pro_video.judging.picture.kept import BORDER, border_of, changes_outside, marks_added
from pro_video.judging.picture.looks import Look, look
from pro_video.judging.picture.moments import Moment, moments
from pro_video.judging.picture.views import Fit, fit, reframed
from pro_video.media.info import VideoStream
from pro_video.media.reading.open import Source

_HDR: Final = frozenset({int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67)})


@dataclass
class Pair:
    """A source and its result, moment by moment.

    Attributes:
        length: of the result in seconds.
        retoned: has a moment shown them with different dynamic ranges?
    """

    before: Source
    after: Source
    source: VideoStream
    length: float
    shape: Shape
    fit: Fit
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
    ) -> Pair:
        """``instant`` and ``shown`` are a moment in the middle of each."""
        sizes = (source.width, source.height), (result.width, result.height)
        shape = Shape.of(*sizes, cell=cell)
        found = fit(
            before,
            after,
            source=source,
            result=result,
            shape=shape,
            instant=instant,
            shown=shown,
        )
        return cls(before, after, source, length, shape, found)

    def moments(
        self, instants: Sequence[float], shown: Sequence[float], reach: float | None = None
    ) -> Iterator[Moment]:
        """Each moment that both files show, in order."""
        for moment in moments(
            self.before,
            self.after,
            instants,
            shown,
            video=self.source,
            shape=self.shape,
            views=self.fit.views,
            reach=reach,
        ):
            self.retoned = self.retoned or _hdr(moment.before) != _hdr(moment.after)
            yield moment

    def unlike(self, looks: Sequence[Look]) -> list[Finding] | None:
        """Findings when the result does not show its source the right way; None when it does."""
        if self.fit.turned is not None:
            return [orientation_finding(self.fit.turned, self.length, 1.0)]
        found = unlike(looks, self._search, self.length)
        if found is not None and found.unusable and self._reframed(looks):
            found = reframed_finding(self.length)
        return None if found is None else [found]

    def _reframed(self, looks: Sequence[Look]) -> bool:
        """Does a moment show the same picture in another framing?"""
        some = [look for look in looks if look.likeness is not None][:: max(1, len(looks) // 2)]
        instants, shown = [look.instant for look in some], [look.shown for look in some]
        return any(reframed(moment, self.shape) for moment in self.moments(instants, shown))

    def _search(self, looks: Sequence[Look]) -> list[Look]:
        """The same moments, against more of the source around them."""
        instants, shown = [look.instant for look in looks], [look.shown for look in looks]
        free = border_of(self.shape)
        return [
            look(moment, self.shape, free) for moment in self.moments(instants, shown, WIDE_REACH)
        ]

    def lightness(self, looks: Sequence[Look]) -> list[Finding]:
        """Another lightness that no other dynamic range explains."""
        return [] if self.retoned else lighter(looks, self.length)

    def kept(self, kept: Sequence[Look], looks: Sequence[Look], stage: str) -> list[Finding]:
        """Marks that were added, and other changes where nothing was to change.

        Args:
            kept: moments in which part of the picture has to stay, and nothing else may change it.
            looks: all moments. Only in more of them than there are to keep is a faint mark seen
                that stands before what moves; so they are looked at too, near the edges.
            stage: how messages name what was done.
        """
        if not self.fit.exact:
            return []
        marks = marks_added(kept, self.shape, self.length, retoned=self.retoned)
        if not marks:
            marks = marks_added(
                looks, self.shape, self.length, retoned=self.retoned, anything_else=True
            )
        boxes = [finding.region for finding in marks if finding.region is not None]
        known = self.shape.covered(boxes, BORDER)
        rest = [replace(look, free=joined(look.free, known)) for look in kept]
        return marks + changes_outside(rest, self.shape, self.length, stage, retoned=self.retoned)


def _hdr(frame: VideoFrame) -> bool:
    """Has it a high dynamic range, which another range shows with other lightness?"""
    return frame.color_trc in _HDR
