from __future__ import annotations

from pathlib import Path

import av
import pytest

from sandbox.ghostcut.work.processing import inspect_source
from sandbox.media.files.video_reader import PicturesByTime, VideoReader
from sandbox.sync_so.work.processing import probe
from tests.sandbox.media.clips import write_clip


def test_a_tag_in_another_encoding_refuses_no_file(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "c.mp4")
    made = path.read_bytes()
    path.write_bytes(made.replace(b"Lavf", b"L\xe9vf"))
    assert path.read_bytes() != made
    with VideoReader(path) as reader:
        assert next(reader.pictures()).key
    found = probe(path)
    assert found is not None
    assert found.has_video
    assert inspect_source(path).width == found.width


def test_a_live_recording_is_as_long_as_its_packets(tmp_path: Path) -> None:
    live = tmp_path / "live.mkv"
    with (
        av.open(str(write_clip(tmp_path / "c.mkv", channels=0, options={"bf": "0"}))) as source,
        av.open(str(live), "w", options={"live": "1"}) as out,
    ):
        copies = {one.index: out.add_stream_from_template(one) for one in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    with av.open(str(live)) as container:
        assert container.duration is None
    found = probe(live)
    assert found is not None
    assert found.video_seconds == pytest.approx(2.0, abs=0.06)
    assert inspect_source(live).duration == pytest.approx(2.0, abs=0.06)


def test_pictures_by_time_in_any_order(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", options={"g": "250"})
    with VideoReader(clip) as reader:
        times = [item.time for item in reader.pictures()]
        by_time = PicturesByTime(reader, window_bytes=1)
        for index in [0, 49, 48, 20, 19, 3, 30, 0, 49]:
            assert by_time.at(times[index] + 0.001).time == times[index]
        assert by_time.at(-1).time == times[0]
        assert by_time.at(99).time == times[-1]
