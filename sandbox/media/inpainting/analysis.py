"""First pass: when overlays show in each erase rectangle, and how the picture moves around it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sandbox.media.files.pictures import Plane
from sandbox.media.files.video_reader import TimedPicture, VideoReader
from sandbox.media.inpainting.holes import dilated
from sandbox.media.inpainting.masks import Bitmap, Box, Mask, pixel_box
from sandbox.media.inpainting.motion import Matcher, Points, Shift, phase_correlation
from sandbox.media.inpainting.presence import SETTLE_SECONDS, EdgeWatcher, changes, showings

REACH_SECONDS = 1.5
"""How far outside a window clean pictures are looked for; covers windows that miss the text."""
CUT_ERROR = 22.0
"""Difference left after the best shift, in luma steps, from which on it is another shot."""
STANDING_SHARE = 0.8
"""Share of a shot's pictures in which an edge has to stand for the shot to have it throughout."""
LEAST = {True: 0.004, False: 0.01}
"""Share of the rectangle that has to become edges for an overlay to begin, by `text_only`.

More for erasing everything: a change that is none would leave something standing.
"""
CELLS = (3, 6)
"""Columns and rows into which the whole frame is divided when text is looked for everywhere."""


@dataclass(frozen=True, slots=True)
class Event:
    """An overlay from picture `first` to `last` (indices of the track).

    Attributes:
        before, after: nearest clean pictures of the same shot, None where there is none.
        lines: parts of the event in which the overlay does not change.
    """

    first: int
    last: int
    before: int | None
    after: int | None
    lines: tuple[tuple[int, int], ...]


@dataclass
class Track:
    """Everything that is known of one rectangle over time.

    Attributes:
        box, text_only: the rectangle; whether only text inside it may go.
        mask: index of the mask that this stands for; -1 for a part of the whole frame.
        ignore: protected pixels of the rectangle, None for none.
        window: of the mask, seconds.
        points: where motion around the rectangle is measured.
        pts, times, keys: of each picture of the analysed span; keys tells key pictures.
        path: sum of the shifts from each picture to the one before; the difference of two entries
            predicts the shift between their pictures.
        shots: first index of each shot.
        strokes: for each shot, by its first index, the edges that stand throughout.
        events: the overlays found, in order.
        unclear: shots, first and last index, in which no overlay comes or goes: it may show
            throughout or not at all.
    """

    box: Box
    text_only: bool
    mask: int
    points: Points
    ignore: Bitmap | None
    watcher: EdgeWatcher
    lag: int
    window: tuple[float, float] = (0.0, math.inf)
    pts: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    path: list[tuple[float, float]] = field(default_factory=list)
    shots: list[int] = field(default_factory=list)
    strokes: dict[int, Bitmap | None] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    unclear: list[tuple[int, int]] = field(default_factory=list)

    def index(self, pts: int) -> int | None:
        """Index of the picture with this timestamp; None when it was not analysed."""
        place = bisect_left(self.pts, pts)
        return place if place < len(self.pts) and self.pts[place] == pts else None

    def event_at(self, index: int) -> Event | None:
        """The event that picture `index` is in."""
        place = bisect_left(self.events, index, key=lambda event: event.last)
        if place < len(self.events) and self.events[place].first <= index:
            return self.events[place]
        return None

    def unclear_at(self, index: int) -> int | None:
        """First index of the shot that `index` is in, if its counts could not tell."""
        for first, last in self.unclear:
            if first <= index <= last:
                return first
        return None


def static_boxes(masks: Sequence[Mask], width: int, height: int, kind: str = "") -> list[Box]:
    """Boxes of the masks of one kind, or of all."""
    return [
        pixel_box(mask.region, width, height) for mask in masks if not kind or mask.kind == kind
    ]


def make_tracks(reader: VideoReader, masks: Sequence[Mask], *, whole_frame: bool) -> list[Track]:
    """A track for each erase mask, and the cells of the frame when text is erased everywhere.

    A track of the whole frame has mask index -1.
    """
    width, height = reader.width, reader.height
    lag = min(12, max(3, round(SETTLE_SECONDS * reader.fps)))
    protected = np.zeros((height, width), np.bool_)
    for box in static_boxes(masks, width, height, "keep"):
        protected[box.grown(2, 2, width, height).slices()] = True
    tracks: list[Track] = []
    taken = protected.copy()
    for box in static_boxes(masks, width, height):
        taken[box.slices()] = True
    for index, mask in enumerate(masks):
        if mask.kind == "keep":
            continue
        box = pixel_box(mask.region, width, height)
        margin = max(24, height // 7)
        band = np.zeros((height, width), np.bool_)
        band[max(0, box.top - margin) : box.bottom + margin] = True
        points = Points(band & ~taken)
        if len(points) < 400:
            points = Points(~taken)
        if len(points) < 400:
            points = Points(~protected)
        ignore = protected[box.slices()]
        tracks.append(
            Track(
                box,
                mask.kind == "remove_only_ocr",
                index,
                points,
                ignore if ignore.any() else None,
                EdgeWatcher(lag),
                lag,
                (mask.start, mask.end),
            )
        )
    if whole_frame:
        points = Points(~taken if np.count_nonzero(~taken) > 400 else ~protected)
        columns, rows = CELLS
        for number in range(columns * rows):
            column, row = number % columns, number // columns
            cell = pixel_box(
                (column / columns, row / rows, (column + 1) / columns, (row + 1) / rows),
                width,
                height,
            )
            ignore = protected[cell.slices()]
            tracks.append(
                Track(
                    cell, True, -1, points, ignore if ignore.any() else None, EdgeWatcher(lag), lag
                )
            )
    return tracks


class Analysis:
    """Fills tracks from a pass over the pictures around the masks' windows."""

    def __init__(
        self, tracks: Sequence[Track], spans: Sequence[tuple[float, float]], fps: float
    ) -> None:
        self._tracks = tracks
        self._spans = spans
        self._fps = fps
        self._last: Plane | None = None
        self._velocity: dict[int, Shift] = {}
        self._usual: dict[int, float] = {}
        self._standing: dict[int, tuple[npt.NDArray[np.int32], list[int]]] = {}

    def run(self, reader: VideoReader) -> None:
        """Read the pictures and find the events."""
        begin = min(start for start, _ in self._spans)
        end = max(stop for _, stop in self._spans)
        for item in reader.pictures(max(0.0, begin)):
            if item.time > end:
                break
            self._add(item)
        for track in self._tracks:
            self._close_shot(track)
            self._find_events(track)

    def _add(self, item: TimedPicture) -> None:
        luma, time = item.picture.y, item.time
        shifts: dict[int, Shift | None] = {}
        for track, (start, stop) in zip(self._tracks, self._spans, strict=True):
            if not start <= time <= stop:
                continue
            key = id(track.points)
            if key not in shifts:
                shifts[key] = self._shift(track.points, luma) if self._last is not None else None
            self._append(track, item, shifts[key])
        self._last = luma if shifts else None

    def _shift(self, points: Points, luma: Plane) -> Shift:
        assert self._last is not None
        key = id(points)
        last = self._velocity.get(key, Shift(0.0, 0.0, 0.0))
        matcher = Matcher(points, luma)
        shift = matcher.search(self._last, [(last.dx, last.dy), (0.0, 0.0)])
        usual = self._usual.get(key, 6.0)
        if shift.error > 1.5 * usual + 2:
            start = phase_correlation(luma, self._last)
            shift = min(shift, matcher.search(self._last, [start]), key=lambda item: item.error)
        if shift.error < CUT_ERROR:
            self._usual[key] = 0.9 * usual + 0.1 * shift.error
        self._velocity[key] = shift
        return shift

    def _append(self, track: Track, item: TimedPicture, shift: Shift | None) -> None:
        luma, time = item.picture.y, item.time
        gap = bool(track.times) and time - track.times[-1] > 2.5 / self._fps
        if shift is None or gap or not track.times or shift.error > CUT_ERROR:
            self._close_shot(track)
            track.shots.append(len(track.pts))
            shift = Shift(0.0, 0.0, 0.0)
        x, y = track.path[-1] if track.path else (0.0, 0.0)
        track.path.append((x + shift.dx, y + shift.dy))
        track.pts.append(item.pts)
        track.times.append(item.time)
        track.keys.append(item.key)
        area = luma[track.box.slices()]
        found = track.watcher.add(area, track.ignore)
        if track.text_only:
            self._accumulate(track, found)

    def _accumulate(self, track: Track, found: Bitmap) -> None:
        key = id(track)
        if key not in self._standing:
            self._standing[key] = (np.zeros(found.shape, np.int32), [0])
        votes, total = self._standing[key]
        votes += found
        total[0] += 1

    def _close_shot(self, track: Track) -> None:
        track.watcher.end_shot()
        kept = self._standing.pop(id(track), None)
        if kept is None or not track.shots:
            return
        votes, total = kept
        track.strokes[track.shots[-1]] = votes >= STANDING_SHARE * total[0]

    def _find_events(self, track: Track) -> None:
        least = LEAST[track.text_only] * track.box.width * track.box.height
        path = np.array(track.path)
        for first, stop in pairwise([*track.shots, len(track.pts)]):
            steps = np.diff(path[first:stop], axis=0, prepend=path[first : first + 1])
            found = changes(
                np.array(track.watcher.appeared[first:stop], np.float64),
                np.array(track.watcher.vanished[first:stop], np.float64),
                np.hypot(steps[:, 0], steps[:, 1]),
                np.array(track.watcher.standing[first:stop], np.float64) * track.keys[first:stop],
                least,
                track.lag,
            )
            shown = showings(found, stop - first)
            if not track.text_only and not any(
                track.times[first + item.first] < track.window[1]
                and track.times[first + item.last] >= track.window[0]
                for item in shown
            ):
                # Something that is to go shows in the window, and it is not what was seen.
                shown = []
            if not shown:
                track.unclear.append((first, stop - 1))
            for number, overlay in enumerate(shown):
                earliest = shown[number - 1].last + 1 if number else 0
                latest = (
                    shown[number + 1].first - 1 if number + 1 < len(shown) else stop - first - 1
                )
                begin, end = overlay.first, overlay.last
                # One picture of distance: the overlay may already shine through faintly.
                before = max(begin - 2, earliest) if begin > earliest else None
                after = min(end + 2, latest) if end < latest else None
                marks = [begin, *(swap for swap in overlay.swaps if begin < swap <= end), end + 1]
                track.events.append(
                    Event(
                        first + begin,
                        first + end,
                        None if before is None else first + before,
                        None if after is None else first + after,
                        tuple((first + a, first + b - 1) for a, b in pairwise(marks)),
                    )
                )


def standing_text(track: Track, shot: int, luma: Plane) -> Bitmap | None:
    """Strokes of text that shows throughout a shot, on the rectangle; None when there is none.

    If the picture behind moves, what stands still is overlay. If it does not, only strong, bright
    and dense strokes count, because anything may stand still.
    """
    found = track.strokes.get(shot)
    if found is None:
        return None
    stop = next((start for start in track.shots if start > shot), len(track.pts))
    return overlay_strokes(track, found, luma, shot, stop - 1)


def overlay_strokes(
    track: Track, standing: Bitmap, luma: Plane, first: int, last: int
) -> Bitmap | None:
    """Which of the edges that stand from picture `first` to `last` are text, grown to strokes."""
    path = np.array(track.path[first : last + 1])
    travelled = float(np.hypot(*np.ptp(path, axis=0)))
    radius = max(2, luma.shape[0] // 150)
    area = luma[track.box.slices()]
    found = standing
    if travelled < 8:
        bright = dilated(area >= 185, radius)
        dark = dilated(area <= 100, radius)
        found = found & bright & dark
    if np.count_nonzero(found) < max(24, 0.004 * found.size):
        return None
    return dilated(found, radius)
