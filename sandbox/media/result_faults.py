"""Results that are whole and still not what was asked for, as a fault of a job asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc

from sandbox.media.files.mp4_writer import Format, PictureFormat, Samples
from sandbox.media.files.pictures import Picture, Plane, from_frame, to_frame
from sandbox.media.overlays import text

FAULTS = (
    "picture_unchanged",
    "audio_dropped",
    "wrong_duration",
    "watermark",
    "tone_mapped",
    "mirrored",
    "other_frame_rate",
    "late_sound",
    "half_size",
)
"""Faults that both kinds of processing can make."""

CUT_BY_FAULT = 0.25
"""Share of the output that `wrong_duration` leaves out."""
LATE_SECONDS = 0.5
"""By how much `late_sound` lets the picture go first."""
_MARK_PLACE = (0.84, 0.92)
_MARK_FILL, _MARK_EDGE = (255, 255, 255, 150), (0, 0, 0, 90)
_PQ = (0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875)
_HLG = (0.17883277, 0.28466892, 0.55991073)
_WHITE_NITS = 203.0
"""Of a sheet of white paper in HDR (ITU-R BT.2408)."""

Levels = npt.NDArray[np.float64]


class Spoiler:
    """Does to pictures and sound what a fault asks for; without one, nothing.

    Attributes:
        format: of the output.
        late: seconds by which the sound comes late.
    """

    def __init__(self, kind: str | None, source: PictureFormat, mark: str) -> None:
        """``mark`` is what a watermark says."""
        self._kind = kind
        self.format: PictureFormat = _format(kind, source)
        self.late = LATE_SECONDS if kind == "late_sound" else 0.0
        self._table = _tone_table(source.colour.get("color_trc", 2))
        self._mark = text(
            mark,
            centre=_MARK_PLACE,
            size=max(10, round(min(source.width, source.height) / 14)),
            frame=(source.width, source.height),
            fill=_MARK_FILL,
            outline=_MARK_EDGE,
            stroke=1,
        )
        self._seen = 0

    def picture(self, picture: Picture) -> Picture | None:
        """The picture as it is written; None for one that is left out."""
        self._seen += 1
        if self._kind == "other_frame_rate" and self._seen % 2 == 0:
            return None
        if self._kind == "watermark":
            self._mark.draw(picture)
        elif self._kind == "mirrored":
            return Picture(*(plane[:, ::-1].copy() for plane in picture.planes()))
        elif self._kind == "half_size":
            return from_frame(to_frame(picture), (self.format.width, self.format.height))
        elif self._kind == "tone_mapped":
            return self._toned(picture)
        return picture

    def _toned(self, picture: Picture) -> Picture:
        chroma = [
            np.clip(128 + (plane.astype(np.float32) - 128) * 0.85, 16, 240).astype(np.uint8)
            for plane in (picture.u, picture.v)
        ]
        return Picture(self._table[picture.y], *chroma)

    def sound(self, blocks: Iterator[Samples], rate: int, channels: int) -> Iterator[Samples]:
        """The sound, after the silence that makes it late."""
        if self.late:
            yield np.zeros((round(self.late * rate), channels), np.float32)
        yield from blocks


def _format(kind: str | None, source: PictureFormat) -> PictureFormat:
    colour = dict(source.colour)
    given = Format(source.width, source.height, source.fps, source.sample_aspect, colour)
    if kind == "half_size":
        width, height = (max(16, side // 4 * 2) for side in (source.width, source.height))
        return replace(given, width=width, height=height)
    if kind == "other_frame_rate":
        return replace(given, fps=Fraction(source.fps) / 2)
    if kind == "tone_mapped":
        sdr = {
            "color_primaries": int(ColorPrimaries.BT709),
            "color_trc": int(ColorTrc.BT709),
            "colorspace": int(Colorspace.ITU709),
        }
        return replace(given, colour={**colour, **sdr})
    return given


def _tone_table(transfer: int) -> Plane:
    """SDR luma for each luma: of a PQ or HLG picture what a player would show; of any other one
    what is left when it is taken for HDR, with its white at 203 of 1000 nits."""
    signal: Levels = np.clip((np.arange(256) - 16) / 219, 0, 1)
    if transfer == int(ColorTrc.SMPTE2084):
        m1, m2, c1, c2, c3 = _PQ
        power = signal ** (1 / m2)
        nits = 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
        shown = _compressed(nits / _WHITE_NITS)
    elif transfer == int(ColorTrc.ARIB_STD_B67):
        a, b, c = _HLG
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
        shown = _compressed(scene**1.2 * 1000 / _WHITE_NITS)
    else:
        shown = signal**2.4 * _WHITE_NITS / 1000
    table: Plane = np.rint(16 + 219 * np.clip(shown, 0, 1) ** (1 / 2.4)).astype(np.uint8)
    return table


def _compressed(light: Levels) -> Levels:
    """Extended Reinhard: what is five times as bright as white becomes the brightest there is."""
    return light * (1 + light / 25) / (1 + light)
