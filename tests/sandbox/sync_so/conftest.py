from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.common.media_pool import MediaPool
from tests.sandbox.sync_so.vendor import CLIP_SECONDS, FPS, Vendor, running
from tests.support.media.clips import write_clip, write_sound


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
        write_clip(
            folder / "clip.mp4", width=96, height=64, seconds=CLIP_SECONDS, fps=FPS, sound=False
        ),
        write_sound(folder / "tone.wav", 0.8),
        write_sound(folder / "long.wav", CLIP_SECONDS),
    )


@pytest.fixture(scope="session")
def pool() -> Iterator[MediaPool]:
    """Worker processes for all emulators of the session: each costs a second to start."""
    pool = MediaPool(1)
    yield pool
    pool.close()


@pytest.fixture
def vendor(tmp_path: Path, pool: MediaPool) -> Iterator[Vendor]:
    """An emulator whose jobs end at once and copy their input."""
    with running(tmp_path / "data", pool=pool) as vendor:
        vendor.settings(seconds_per_job=0, media="copy")
        yield vendor


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory, pool: MediaPool) -> Iterator[Vendor]:
    """One emulator for all calls that are refused and so leave nothing behind."""
    with running(tmp_path_factory.mktemp("strict"), pool=pool) as vendor:
        yield vendor


@dataclass(frozen=True)
class Links:
    video: str
    audio: str
    long_audio: str


@pytest.fixture(scope="session")
def links(strict: Vendor, media: Media) -> Links:
    """Addresses of the media, for every emulator to fetch."""
    return Links(
        strict.upload(media.clip, "video/mp4"),
        strict.upload(media.tone, "audio/wav"),
        strict.upload(media.long_tone, "audio/wav"),
    )
