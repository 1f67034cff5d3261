"""When is there an overlay? From edges that begin or cease to stand at one place of the screen.

The edges of an overlay stand still while it shows, and come and go at once. So a picture in which
many edges appear that stay, or many cease that had stayed, is a change of overlay, whatever the
picture behind does: what moves has no standing edges, what rests does not appear.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sandbox.media.files.pictures import Plane
from sandbox.media.inpainting.masks import Bitmap

EDGE = 36
"""Luma step over two pixels that counts as an edge; film grain and soft texture stay below."""
SETTLE_SECONDS = 0.2
"""An edge that stays this long at its place stands still; so overlays last longer than this."""

KEY_SHARE = 0.2
"""Share of the standing edges that has to change at a key picture for more than coding noise."""
STIR = 0.7
"""Pixels from one picture to the next from which on the picture behind counts as moving."""
DOMINANT = 2.2
"""From this ratio on appearing edges outweigh vanishing ones (or the reverse); else a swap."""

Counts = npt.NDArray[np.floating]


def edges(plane: Plane) -> Bitmap:
    """Pixels at steep luma steps in either direction."""
    values = plane.astype(np.int16)
    found = np.zeros(plane.shape, np.bool_)
    found[:, 1:-1] |= np.abs(values[:, 2:] - values[:, :-2]) > EDGE
    found[1:-1, :] |= np.abs(values[2:, :] - values[:-2, :]) > EDGE
    return found


class EdgeWatcher:
    """Counts, for each picture of a shot, edges that appear for good and edges that cease.

    Attributes:
        appeared: edges that stand from this picture on and were not in the one before.
        vanished: edges that stood until the picture before and are not in this one.
        standing: edges that stood until the picture before.
    """

    def __init__(self, lag: int) -> None:
        """`lag`: pictures in SETTLE_SECONDS."""
        self._lag = lag
        self._recent: deque[Bitmap] = deque(maxlen=2 * lag + 2)
        self._seen = 0
        self.appeared: list[int] = []
        self.vanished: list[int] = []
        self.standing: list[int] = []

    def add(self, plane: Plane, ignore: Bitmap | None) -> Bitmap:
        """Take the next picture's rectangle, without the pixels of `ignore`; gives its edges."""
        found = edges(plane)
        if ignore is not None:
            found &= ~ignore
        self._recent.append(found)
        self._seen += 1
        self.appeared.append(0)
        self.vanished.append(0)
        self.standing.append(0)
        if self._seen > self._lag + 1:
            self._count(self._lag)
        return found

    def end_shot(self) -> None:
        """The shot is over: nothing stands across a cut."""
        for later in range(min(self._lag, self._seen - 1) - 1, -1, -1):
            self._count(later)
        self._recent.clear()
        self._seen = 0

    def _count(self, later: int) -> None:
        """Compare the picture that has `later` pictures after it with its neighbours."""
        here = len(self._recent) - 1 - later
        if here < 1:
            return
        half = self._lag // 2
        now, before = self._recent[here], self._recent[here - 1]
        if later >= half:
            stands = now & self._recent[here + half] & self._recent[here + min(self._lag, later)]
            self.appeared[-1 - later] = int(np.count_nonzero(stands & ~before))
        if here - 1 >= half:
            stood = (
                before & self._recent[here - 1 - half] & self._recent[max(0, here - 1 - self._lag)]
            )
            self.vanished[-1 - later] = int(np.count_nonzero(stood & ~now))
            self.standing[-1 - later] = int(np.count_nonzero(stood))


@dataclass(frozen=True, slots=True)
class Change:
    """A change of overlay that lasts from picture `first` to `last` (a fade takes several)."""

    first: int
    last: int
    appeared: float
    vanished: float


@dataclass(frozen=True, slots=True)
class Showing:
    """An overlay from picture `first` to `last`, which changes at the pictures `swaps`."""

    first: int
    last: int
    swaps: tuple[int, ...]


def changes(
    appeared: Counts, vanished: Counts, speed: Counts, settled: Counts, least: float, lag: int
) -> list[Change]:
    """Where the overlay of one shot changes.

    Args:
        appeared, vanished: counts of an EdgeWatcher for the shot.
        speed: motion of the picture behind since the picture before, in pixels.
        least: edge pixels that a change has to have.
        settled: standing edges at key pictures, 0 at others.
        lag: as for the EdgeWatcher; changes as close as this are one.
    """
    come, go = (_excess(counts, 0.3 * least, lag) for counts in (appeared, vanished))
    for index in np.flatnonzero(come).tolist():
        # A camera that comes to rest makes all its edges stand.
        if speed[index] > STIR and _middle(speed[index + 1 : index + 1 + lag]) < STIR:
            come[index] = 0
    for index in np.flatnonzero(go).tolist():
        if speed[index] > STIR and _middle(speed[max(0, index - lag) : index]) < STIR:
            go[index] = 0
    faint = 0.05 * max(_largest(come, lag), _largest(go, lag))
    come, go = (np.where(counts > faint, counts, 0.0) for counts in (come, go))
    # A coder's new key picture shifts a few edges everywhere.
    come, go = (np.where(counts < KEY_SHARE * settled, 0.0, counts) for counts in (come, go))
    found: list[Change] = []
    for index in np.flatnonzero((come > 0) | (go > 0)).tolist():
        if found and index - found[-1].last <= lag:
            last = found.pop()
            change = Change(
                last.first,
                index,
                last.appeared + float(come[index]),
                last.vanished + float(go[index]),
            )
        else:
            change = Change(index, index, float(come[index]), float(go[index]))
        found.append(change)
    # A fade spreads over pictures of which none may have enough alone.
    enough = [item for item in found if max(item.appeared, item.vanished) >= least]
    return _significant(enough, len(appeared), lag)


def _significant(found: Sequence[Change], count: int, lag: int) -> list[Change]:
    """Without what is small beside the largest change of the shot.

    A one-sided change is kept from a small share on: lines of text differ in length. A balanced
    one may be a coder's new key picture, and near the shot's ends few pictures vouch for a change.
    """
    largest = max((max(item.appeared, item.vanished) for item in found), default=0.0)
    kept: list[Change] = []
    for item in found:
        more, less = max(item.appeared, item.vanished), min(item.appeared, item.vanished)
        share = 0.08 if more > DOMINANT * less else 0.4
        if item.first <= lag or item.last >= count - 1 - lag:
            share = 0.6
        if more >= share * largest:
            kept.append(item)
    return kept


def _largest(counts: Counts, lag: int) -> float:
    """The largest count that is not near the shot's ends."""
    return float(counts[lag + 1 : -lag - 1].max(initial=0.0))


def _middle(values: Counts) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _excess(counts: Counts, least: float, lag: int) -> Counts:
    """Counts that exceed those of the pictures around by far; 0 elsewhere."""
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(counts, 2 * lag, mode="reflect" if len(counts) > 2 * lag else "edge"), 4 * lag + 1
    )
    over = counts - np.median(around, axis=1)
    spread = 1.4826 * float(np.median(np.abs(over)))
    return np.where(over > max(least, 16.0, 7 * spread), over, 0.0)


def showings(found: Sequence[Change], count: int) -> list[Showing]:
    """The overlays of a shot of `count` pictures, from its changes; [] when there are none.

    An amount of standing edges is carried along: what appears adds, what vanishes takes away. A
    second line of text that comes and goes over a first one therefore ends nothing.
    """
    result: list[Showing] = []
    amount = 0.0
    begin: int | None = None
    swaps: list[int] = []
    for number, change in enumerate(found):
        fade = change.last - change.first
        comes = change.appeared > DOMINANT * change.vanished
        goes = change.vanished > DOMINANT * change.appeared
        net = change.appeared - change.vanished
        if number == 0 and not comes:
            amount, begin = (-net if goes else change.vanished), 0
        if begin is None and not comes:
            continue
        if goes and -net > 0.65 * amount:
            amount = 0.0
        else:
            amount = max(amount + net, 0.3 * amount, 0.3 * change.appeared)
        if begin is None and amount > 0:
            begin, swaps = max(0, change.first - fade), []
        elif begin is not None and amount <= 0:
            result.append(Showing(begin, min(count - 1, change.last - 1 + fade), tuple(swaps)))
            begin, swaps = None, []
        elif begin is not None:
            swaps.append(change.first)
    if begin is not None:
        result.append(Showing(begin, count - 1, tuple(swaps)))
    return result
