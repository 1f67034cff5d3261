from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sandbox.sync_so.support import CLIP_SECONDS, Vendor, make_clip, make_tone


@dataclass(frozen=True)
class Media:
    clip: Path
    tone: Path
    """0.8 s, as long as the range of `one_segment`."""
    long_tone: Path
    """As long as the clip."""


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    folder = tmp_path_factory.mktemp("media")
    return Media(
        make_clip(folder / "clip.mp4"),
        make_tone(folder / "tone.wav", 0.8),
        make_tone(folder / "long.wav", CLIP_SECONDS, 220.0),
    )


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Vendor]:
    """An emulator whose jobs end at once and copy their input."""
    with Vendor(tmp_path / "data") as running:
        running.settings(seconds_per_job=0, media="copy")
        yield running


@dataclass(frozen=True)
class Links:
    video: str
    audio: str
    long_audio: str


@pytest.fixture
def links(vendor: Vendor, media: Media) -> Links:
    """The media in the vendor's own storage."""
    return Links(
        vendor.upload(media.clip, "video/mp4"),
        vendor.upload(media.tone, "audio/wav"),
        vendor.upload(media.long_tone, "audio/wav"),
    )
