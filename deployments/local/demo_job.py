"""The demo's job: the sandbox's sample, or a video of the user's own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pro_video.media.probe import probe

# Of the sample's spoken lines.
_LINE_SECONDS = 2.2
_SHORTEST_VIDEO = 2.0


@dataclass(frozen=True)
class DemoJob:
    """Parameters for the deployment, and their video."""

    video: Path
    parameters: dict[str, Any]


def job_of_sample(folder: Path) -> DemoJob:
    """A job on a new sample: two segments, a subtitle, a watermark and a protected label.

    Raises:
        subprocess.CalledProcessError: the sample could not be made.
    """
    sample = _make_sample(folder)
    parameters = {
        "video": sample["video"],
        "segments": sample["segments"],
        "annotation_areas": sample["annotation_areas"],
        "display_name": "Demo",
    }
    return DemoJob(Path(sample["video"]), parameters)


def job_of_video(video: Path, folder: Path) -> DemoJob:
    """A job on any video: the sample's two lines spoken in it, and the text in its lower part
    erased.

    Raises:
        MediaUnusable: it is no video.
        ValueError: it is too short for two segments.
    """
    video = video.resolve()
    info = probe(video, size=video.stat().st_size, what=str(video))
    if info.duration < _SHORTEST_VIDEO:
        raise ValueError(f"{video} lasts {info.duration:.1f} s; the demo takes 2 s or more")
    sample = _make_sample(folder)
    length = min(_LINE_SECONDS, 0.25 * info.duration)
    segments = [
        {
            "start": round(share * info.duration, 3),
            "end": round(share * info.duration + length, 3),
            "audio": line["audio"],
            "audio_start": 0.0,
            "audio_end": round(length, 3),
        }
        for share, line in zip((0.15, 0.55), sample["segments"], strict=True)
    ]
    band = {"x": 0.05, "y": 0.72, "width": 0.9, "height": 0.25}
    parameters = {
        "video": str(video),
        "segments": segments,
        "annotation_areas": [{"kind": "erase_text", "region": band}],
        "display_name": video.name[:200],
    }
    return DemoJob(video, parameters)


def _make_sample(folder: Path) -> dict[str, Any]:
    # The product does not import the sandbox.
    subprocess.run(
        [sys.executable, "-P", "-m", "sandbox", "sample", "--out", str(folder.resolve())],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    description: dict[str, Any] = json.loads((folder / "sample.json").read_text(encoding="utf-8"))
    return description
