from __future__ import annotations

import pytest

from sandbox.media.errors import MediaError
from sandbox.media.lip_sync.timeline import SYNC_MODES, Range, build

LENGTHS = {
    # mode: output length for audio longer (150) and shorter (60) than the range (100)
    "bounce": (150, 60),
    "loop": (150, 60),
    "remap": (150, 60),
    "cut_off": (100, 60),
    "silence": (150, 100),
}


def test_every_mode_has_a_row() -> None:
    assert set(LENGTHS) == set(SYNC_MODES)


@pytest.mark.parametrize("mode", SYNC_MODES)
@pytest.mark.parametrize("longer", [True, False])
def test_the_range_gets_the_length_of_its_mode(mode: str, longer: bool) -> None:
    audio = 150 if longer else 60
    pieces = build([Range(200, 300, audio, mode)], 1000, tolerance=2)
    expected = LENGTHS[mode][0 if longer else 1]
    assert [p.out_end - p.out_start for p in pieces] == [200, expected, 700]
    assert pieces[-1].out_end == 900 + expected
    assert [p.segment for p in pieces] == [None, 0, None]


def test_audio_of_the_ranges_length_moves_nothing() -> None:
    pieces = build([Range(200, 300, 101, "remap")], 1000, tolerance=2)
    assert not any(piece.retimed for piece in pieces)


def test_source_positions_of_each_mode() -> None:
    def positions(mode: str, audio: int) -> list[float]:
        piece = build([Range(0, 100, audio, mode)], 100, tolerance=0)[0]
        return [piece.source_at(p) for p in (0, 50, 120, 240)]

    assert positions("remap", 200) == [0, 25, 60, 99]
    assert positions("loop", 250) == [0, 50, 20, 40]
    assert positions("bounce", 250) == [0, 50, 79, 40]
    assert positions("silence", 250) == [0, 50, 99, 99]


def test_ranges_may_touch_and_come_in_any_order() -> None:
    pieces = build([Range(300, 400, 100, "remap"), Range(200, 300, 100, "remap")], 500, 0)
    assert [piece.segment for piece in pieces] == [None, 1, 0, None]


@pytest.mark.parametrize(
    "ranges",
    [
        [Range(0, 100, 10, "loop"), Range(50, 150, 10, "loop")],
        [Range(100, 50, 10, "loop")],
        [Range(-5, 50, 10, "loop")],
        [Range(2000, 2100, 10, "loop")],
        [Range(0, 100, 10, "stretch")],
    ],
)
def test_senseless_ranges_are_refused(ranges: list[Range]) -> None:
    with pytest.raises(MediaError):
        build(ranges, 1000, 0)
