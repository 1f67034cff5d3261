"""Each display matrix, through every way in which a picture is shown or compared."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from pro_video.judging.picture.grids import Gridder, Shape
from pro_video.judging.preview import make_preview
from pro_video.media.reading.orientation import Orientation
from sandbox.media.files.pictures import from_frame, orientation
from tests.support.media.clips import Picture, write_clip
from tests.support.media.probed import picture_of

_ONE = 0x10000
_TURNS = [(1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0)]
MATRICES = [*_TURNS, *((-a, -b, c, d) for a, b, c, d in _TURNS)]
"""a, b, c, d of all right angles, then of the same mirrored before."""


def corner(index: int, width: int, height: int) -> Picture:
    """A light quarter beside a grey one, on dark: each orientation of it looks different."""
    picture = np.full((height, width, 3), 20, np.uint8)
    picture[: height // 2, : width // 2] = 235
    picture[: height // 2, width // 2 :] = 128
    return picture


def moved(picture: Picture, matrix: tuple[int, int, int, int]) -> Picture:
    """Each pixel put where the matrix says."""
    a, b, c, d = matrix
    height, width = picture.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width]
    across, down = a * columns + c * rows, b * columns + d * rows
    across, down = across - across.min(), down - down.min()
    shown = np.zeros((down.max() + 1, across.max() + 1, *picture.shape[2:]), picture.dtype)
    shown[down, across] = picture
    return shown


def with_matrix(path: Path, matrix: tuple[float, ...]) -> Path:
    """The display matrix of the first track replaced."""
    data = bytearray(path.read_bytes())
    place = data.find(b"tkhd") + 4 + 4 + 20 + 16
    a, b, c, d = (round(value * _ONE) for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(data)
    return path


def first_frame(path: Path) -> VideoFrame:
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_picture_is_shown_where_its_matrix_says(
    tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    clip = with_matrix(write_clip(tmp_path / "c.mp4", seconds=0.2, draw=corner), matrix)
    expected = moved(corner(0, 160, 96), matrix)[:, :, 0]
    height, width = expected.shape

    video = picture_of(clip)
    assert (video.width, video.height) == (width, height)
    assert (video.mirrored, video.rotation // 90) == divmod(MATRICES.index(matrix), 4)

    frame = first_frame(clip)
    shape = Shape(width // 16, height // 16)
    grid = np.frombuffer(Gridder(shape)(frame), np.uint8).reshape(shape.rows, shape.columns)
    assert np.abs(grid.astype(int) - expected[8::16, 8::16]).max() < 12

    # The sandbox has an eye of its own; both have to see what players show.
    emulated = from_frame(frame).y.astype(float)
    assert emulated.shape == expected.shape
    assert np.corrcoef(emulated.ravel(), expected.ravel())[0, 1] > 0.99

    with av.open(io.BytesIO(make_preview(clip, clip, instants=(0.0,))), "r") as jpeg:
        sheet = next(jpeg.decode(video=0)).to_ndarray(format="gray")
    for down, across in product((0.25, 0.75), repeat=2):
        seen = int(sheet[int(down * sheet.shape[0]), int(across * 384)])
        assert abs(seen - int(expected[int(down * height), int(across * width)])) < 16


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_an_angle_beside_a_right_one_is_that(*, turns: int, mirrored: bool) -> None:
    angle = np.radians(turns * 90 + 20)
    a, b, c, d = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    if mirrored:
        a, b = -a, -b
    assert Orientation.from_matrix(1.5 * a, b, 1.5 * c, d) == Orientation(mirrored, turns * 90)


def test_a_matrix_without_an_area_turns_nothing() -> None:
    assert Orientation.from_matrix(0, 0, 0, 0) == Orientation()


@pytest.mark.parametrize("read", [Orientation.of, orientation])
def test_reading_an_orientation_does_not_hold_the_frame(
    tmp_path: Path, read: Callable[[VideoFrame], object]
) -> None:
    with av.open(str(write_clip(tmp_path / "clip.mp4", seconds=1))) as container:
        frame = next(container.decode(video=0))
    held = sys.getrefcount(frame)
    read(frame)
    assert sys.getrefcount(frame) == held
