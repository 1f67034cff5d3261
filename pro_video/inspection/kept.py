"""Is what had to stay as it was? The picture outside the areas, and outside the segments.

The measure is `grids.unexplained`. Measured on a talking head (1080x720, 30 frames a second), an
animation with moving camera (1280x720, 25) and a synthetic pan (640x360 and 160x90, 25), six
moments each: the largest value of any cell, and the share of cells above 30 levels.

    H.264 again at CRF 17 / 28 / 32 / 38 (ultrafast)    1 / 7 / 10 / 8      0
    at CRF 32, two thirds of the width, a frame late    14                  0
    1 or 2 frames late; at 24, 30, 15 frames a second   7                   0
    every fifth frame missing                           5                   0
    with grain of 6 levels; gamma 0.9                   9 / 11              0
    blurred by 1 pixel (at a width of 160)              15 (30)             0
    full range taken for limited range                  24                  0
    a black or white block of 1 to 2 % of the frame     37 to 195           0.13 to 1.7 %
    a band of 14 % of the frame filled from its border  13 to 135           0 to 5.6 %
    the same with the axes swapped                      37 to 130           0.6 to 6.3 %
    the whole frame filled from its border              54 to 162           12 to 56 %
    the whole frame blurred by 5 % of its width         32 to 165           0.06 to 3.7 %
    the frame mirrored                                  45 to 227           0.6 to 62 %

What has no contrast with its surroundings is not seen, and does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc

from pro_video.inspection.grids import Shape, unexplained
from pro_video.inspection.moments import Moment
from pro_video.media_info import VideoStream

UNEXPLAINED: Final = 30
"""Grey levels by which a cell differs for certain."""
CHANGED_SHARE: Final = 0.0025
"""Share of the frame that differs for certain in a picture that was changed."""
CHANGED_CELLS: Final = 3
CHANGED_MOMENTS: Final = 2
"""A single one may be a flash, a cut or a damaged frame."""
_BORDER: Final = 0.02
_LEAST_JUDGED: Final = 0.02
_SAME_ASPECT: Final = 0.01
_GAINS: Final = (0.7, 1.4)
_HDR: Final = frozenset({int(ColorTrc.SMPTE2084), int(ColorTrc.ARIB_STD_B67)})


class Kept:
    """Collects what moments show outside of what may change.

    Args:
        source, result: the pictures; where one is cropped against the other, nothing is judged.
        shape: of the grids.
    """

    def __init__(self, source: VideoStream, result: VideoStream, shape: Shape) -> None:
        self._shape = shape
        self._comparable = (
            abs(source.width * result.height / (source.height * result.width) - 1) <= _SAME_ASPECT
        )
        # Encoders pad and crop borders to whole blocks.
        edge = _BORDER
        self._border = shape.covered(
            ((0, 0, 1, edge), (0, 1 - edge, 1, 1), (0, 0, edge, 1), (1 - edge, 0, 1, 1)), 0
        )
        self._changed: list[float] = []

    def look(self, moment: Moment, free: bytearray | None = None) -> None:
        """Judge one moment.

        Args:
            moment: its pictures.
            free: 1 for each cell that may change; none when nothing may.
        """
        free = self._border if free is None else bytearray(map(max, free, self._border))
        cells = len(free)
        if not self._comparable or _toned(moment.before) != _toned(moment.after):
            return
        if free.count(0) < max(_LEAST_JUDGED * cells, CHANGED_CELLS):
            return
        self._changed.append(_share(moment.around, moment.grid, free, self._shape))

    @property
    def changed(self) -> bool:
        """Did something change, for certain, in more than one moment?"""
        return sum(share > 0 for share in self._changed) >= CHANGED_MOMENTS


def _toned(frame: VideoFrame) -> bool:
    """Has it a high dynamic range, which another range shows with other lightness?"""
    return frame.color_trc in _HDR


def _share(around: Sequence[bytes], after: bytes, free: bytearray, shape: Shape) -> float:
    """The share of the frame that differs for certain; 0 when a lighter, darker, flatter or
    stronger picture explains it, or it is too small."""
    share = 1.0
    for grid in (after, _like(around[len(around) // 2], after, free)):
        differing = unexplained(around, grid, shape, UNEXPLAINED)
        cells = sum(
            level > UNEXPLAINED and not passed
            for level, passed in zip(differing, free, strict=True)
        )
        if cells < CHANGED_CELLS or cells < CHANGED_SHARE * len(free):
            return 0.0
        share = min(share, cells / len(free))
    return share


def _like(before: bytes, after: bytes, free: bytearray) -> bytes:
    """``after`` with the range of lightness that ``before`` has where both should be the same."""
    lows, highs = [], []
    for grid in (before, after):
        levels = sorted(level for level, passed in zip(grid, free, strict=True) if not passed)
        lows.append(levels[len(levels) // 10])
        highs.append(levels[len(levels) * 9 // 10])
    if highs[1] <= lows[1]:
        return after
    gain = min(max((highs[0] - lows[0]) / (highs[1] - lows[1]), _GAINS[0]), _GAINS[1])
    table = bytes(
        min(255, max(0, round(lows[0] + gain * (level - lows[1])))) for level in range(256)
    )
    return after.translate(table)
