"""Second pass: erase the masks of one picture after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sandbox.media.files.pictures import Picture, Plane
from sandbox.media.files.video_reader import PicturesByTime, TimedPicture, VideoReader
from sandbox.media.inpainting import coons, temporal
from sandbox.media.inpainting.analysis import (
    REACH_SECONDS,
    Analysis,
    Event,
    Track,
    make_tracks,
    overlay_strokes,
    standing_text,
    static_boxes,
)
from sandbox.media.inpainting.holes import Floats, coarse, dilated, fill_holes, neighbours
from sandbox.media.inpainting.masks import Bitmap, Box, Mask, pixel_box, protected
from sandbox.media.inpainting.motion import Matcher, Shift
from sandbox.media.inpainting.presence import edges
from sandbox.media.inpainting.temporal import MARGIN, Reference

BAD_MATCH = 20.0
"""Difference left around the rectangle from which on a reference shows something else."""
TEXT_STEP = 14
"""Luma difference to the clean picture that is more than grain and coding noise."""
TEXT_SAMPLES = 7
TEXT_SHARE = 0.6


@dataclass
class _Current:
    """The pictures that are loaded for the event that a track is in."""

    event: Event
    references: list[tuple[int, TimedPicture, Bitmap]]
    shifts: dict[int, tuple[int, Shift]] = field(default_factory=dict)
    strokes: dict[tuple[int, int], Bitmap] = field(default_factory=dict)


class Filler:
    """Erases the masks from pictures, given in display order."""

    def __init__(
        self,
        reader: VideoReader,
        others: VideoReader,
        masks: Sequence[Mask],
        *,
        whole_frame: bool,
        begin: float = 0.0,
        end: float = float("inf"),
    ) -> None:
        """Look through the video once.

        Args:
            reader: of the video; free again after this call.
            others: a second reader of the same video, for pictures out of order.
            whole_frame: also erase text anywhere.
            begin, end: the part of the video that will be asked for, seconds.
        """
        self._masks = masks
        self._width, self._height = reader.width, reader.height
        self._pictures = PicturesByTime(others)
        self._changed: set[int] = set()
        self._current: dict[int, _Current] = {}
        self._strokes: dict[tuple[int, int], Bitmap | None] = {}
        self._tracks = make_tracks(reader, masks, whole_frame=whole_frame)
        spans = [self._span(track, begin, end) for track in self._tracks]
        used = [(t, s) for t, s in zip(self._tracks, spans, strict=True) if s[0] < s[1]]
        self._tracks = [track for track, _ in used]
        if used:
            Analysis(self._tracks, [span for _, span in used], float(reader.fps)).run(reader)

    def _span(self, track: Track, begin: float, end: float) -> tuple[float, float]:
        if track.mask < 0:
            return begin - REACH_SECONDS, end + REACH_SECONDS
        mask = self._masks[track.mask]
        start, stop = max(mask.start, begin), min(mask.end, end)
        return (start - REACH_SECONDS, stop + REACH_SECONDS) if start < stop else (0.0, 0.0)

    @property
    def changed(self) -> int:
        """Number of erase masks that have changed a picture so far."""
        return len(self._changed - {-1})

    def apply(self, picture: Picture, pts: int, time: float) -> None:
        """Erase what is to be erased from the picture shown at `time`, in place."""
        shield = protected(self._masks, time, self._width, self._height)
        for number, track in enumerate(self._tracks):
            if track.mask >= 0 and not self._masks[track.mask].active(time):
                continue
            index = track.index(pts)
            if index is None:
                continue
            fills, where = self._erase(number, track, picture, index)
            if fills is None:
                continue
            if shield is not None:
                allowed = ~shield[track.box.halved().slices()]
                where = allowed if where is None else where & allowed
            write(picture, track.box, fills, where)
            self._changed.add(track.mask)

    def _erase(
        self, number: int, track: Track, picture: Picture, index: int
    ) -> tuple[Sequence[Floats] | None, Bitmap | None]:
        """Values for the planes of the box, and where (chroma-sized) to put them; None: nothing."""
        event = track.event_at(index)
        if event is None:
            self._current.pop(number, None)
            shot = track.unclear_at(index)
            if shot is None:
                return None, None
            return self._without_references(number, track, picture, shot)
        current = self._current.get(number)
        if current is None or current.event is not event:
            current = self._current[number] = self._load(track, event)
        references = self._aligned(track, current, picture.y, index)
        if not track.text_only:
            if not references:
                return _smooth(picture, track.box), None
            return temporal.fill(picture, track.box, references).planes, None
        strokes = self._event_strokes(track, current, index)
        if not strokes.any():
            return None, None
        where = coarse(strokes)
        if not references:
            return _around(picture, track.box, where), where
        filled = temporal.fill(picture, track.box, references, visible=~strokes)
        guess = _around(picture, track.box, where)
        planes = [
            np.where(filled.covered[::2, ::2] if plane else filled.covered, known, other)
            for plane, (known, other) in enumerate(zip(filled.planes, guess, strict=True))
        ]
        return planes, where

    def _without_references(
        self, number: int, track: Track, picture: Picture, shot: int
    ) -> tuple[Sequence[Floats] | None, Bitmap | None]:
        if not track.text_only:
            return _smooth(picture, track.box), None
        if (number, shot) not in self._strokes:
            self._strokes[number, shot] = standing_text(track, shot, picture.y)
        strokes = self._strokes[number, shot]
        if strokes is None:
            return None, None
        where = coarse(strokes)
        return _around(picture, track.box, where), where

    def _load(self, track: Track, event: Event) -> _Current:
        references = []
        for index in (event.before, event.after):
            if index is not None:
                item = self._pictures.at(track.times[index])
                references.append((index, item, self._usable(track, item.time)))
        return _Current(event, references)

    def _usable(self, track: Track, time: float) -> Bitmap:
        """Where a clean picture may be copied from: not from overlays elsewhere in the frame."""
        usable = np.ones((self._height, self._width), np.bool_)
        for index, mask in enumerate(self._masks):
            if index != track.mask and mask.active(time):
                box = pixel_box(mask.region, self._width, self._height)
                usable[box.grown(2, 2, self._width, self._height).slices()] = False
        # The overlap of another mask with this rectangle is clean here, unless it is protected.
        usable[track.box.slices()] = True
        for box in static_boxes(
            [m for m in self._masks if m.active(time)], self._width, self._height, "keep"
        ):
            usable[box.grown(2, 2, self._width, self._height).slices()] = False
        return usable

    def _aligned(self, track: Track, current: _Current, luma: Plane, index: int) -> list[Reference]:
        matcher = Matcher(track.points, luma)
        found = []
        for place, item, usable in current.references:
            x, y = (track.path[index][axis] - track.path[place][axis] for axis in (0, 1))
            starts = [(x, y)]
            last = current.shifts.get(place)
            if last is not None:
                was, shift = last
                starts.append(
                    (
                        shift.dx + track.path[index][0] - track.path[was][0],
                        shift.dy + track.path[index][1] - track.path[was][1],
                    )
                )
            shift = matcher.search(item.picture.y, starts, usable)
            if not np.isfinite(shift.error):
                # Too little of the surroundings is in both pictures: trust the path.
                shift = Shift(*starts[-1], BAD_MATCH / 2)
            current.shifts[place] = (index, shift)
            if shift.error < BAD_MATCH:
                found.append(Reference(item.picture, usable, shift, abs(index - place)))
        return found

    def _event_strokes(self, track: Track, current: _Current, index: int) -> Bitmap:
        """Text pixels of the line that is on at `index`, with a margin."""
        line = next(line for line in current.event.lines if line[0] <= index <= line[1])
        if line not in current.strokes:
            current.strokes[line] = self._find_strokes(track, current, line)
        return current.strokes[line]

    def _find_strokes(self, track: Track, current: _Current, line: tuple[int, int]) -> Bitmap:
        shape = (track.box.height, track.box.width)
        votes = np.zeros(shape, np.int16)
        cast = np.zeros(shape, np.int16)
        standing = np.ones(shape, np.bool_)
        first, last = line
        for index in sorted({round(i) for i in np.linspace(first, last, TEXT_SAMPLES)}):
            picture = self._pictures.at(track.times[index]).picture
            standing &= edges(picture.y[track.box.slices()])
            references = self._aligned(track, current, picture.y, index)
            lowest = np.full(shape, np.inf)
            for reference in references:
                seen = temporal.fill(picture, track.box, [reference])
                difference = np.abs(picture.y[track.box.slices()] - seen.planes[0])
                lowest = np.minimum(lowest, np.where(seen.covered, difference, np.inf))
            known = np.isfinite(lowest)
            votes += known & (lowest > TEXT_STEP)
            cast += known
        current.shifts.clear()
        if not cast.any():
            # No clean picture at all: what stands through the line is all that is known.
            found = overlay_strokes(track, standing, picture.y, first, last)
            return found if found is not None else np.zeros(shape, np.bool_)
        strokes = (votes >= TEXT_SHARE * cast) & (cast > 0)
        # A text pixel has others next to it; grain and moving edges leave single ones.
        strokes &= neighbours(strokes) >= 5
        if track.ignore is not None:
            strokes &= ~track.ignore
        return dilated(strokes, max(2, self._height // 160))


def _parts(picture: Picture, box: Box) -> list[tuple[Plane, Box]]:
    return [(picture.y, box), (picture.u, box.halved()), (picture.v, box.halved())]


def _smooth(picture: Picture, box: Box) -> list[Floats]:
    """The whole rectangle from its border."""
    return [coons.fill(plane, part) for plane, part in _parts(picture, box)]


def _around(picture: Picture, box: Box, where: Bitmap) -> list[Floats]:
    """The pixels of `where` (chroma-sized) from the pixels around them."""
    wide = box.grown(MARGIN, MARGIN, picture.width, picture.height)
    hole = np.zeros((wide.height // 2, wide.width // 2), np.bool_)
    inner = Box(
        box.left - wide.left, box.top - wide.top, box.right - wide.left, box.bottom - wide.top
    )
    hole[inner.halved().slices()] = where
    fills = []
    for index, (plane, part) in enumerate(_parts(picture, wide)):
        known = ~hole if index else ~hole.repeat(2, axis=0).repeat(2, axis=1)
        place = inner.halved() if index else inner
        fills.append(fill_holes(plane[part.slices()].astype(np.float32), known)[place.slices()])
    return fills


def write(picture: Picture, box: Box, fills: Sequence[Floats], where: Bitmap | None) -> None:
    """Put `fills` (one for each plane) into `box`; only where the chroma-sized `where` says so."""
    for index, ((plane, part), values) in enumerate(zip(_parts(picture, box), fills, strict=True)):
        area = plane[part.slices()]
        new = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        if where is None:
            area[:] = new
            continue
        bitmap = where if index else where.repeat(2, axis=0).repeat(2, axis=1)
        np.copyto(area, new, where=bitmap)
