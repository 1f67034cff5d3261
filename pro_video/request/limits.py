"""The limits of a request, with their sources.

Times are seconds, sizes are bytes, areas are shares of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Ours: bounds of a request's size that the vendors do not state.
MAX_AREAS: Final = 100
MAX_LABEL: Final = 80
MAX_NAME: Final = 200
MAX_SOURCE: Final = 4096
MOST_BOXES: Final = 20_000
"""Frames of a video whose speaker is a box: the request to Sync.so has one box for each."""
MIN_REGION_SIDE: Final = 0.001
# 0.1 + 0.9000000001 is an error of rounding and not a region outside the frame.
FRAME_TOLERANCE: Final = 1e-6
TIME_TOLERANCE: Final = 1e-6

# Sync.so's documentation states neither a gap nor a minimum. Public projects report refusals of
# touching and of very short ranges after the upload.
MIN_SEGMENT: Final = 0.3
MIN_GAP: Final = 0.05
# Reported: Sync.so refuses a range that ends 2 ms after the media's end, by its own measurement. So
# ends are moved inside by this much.
VIDEO_END_MARGIN: Final = 0.1
AUDIO_END_MARGIN: Final = 0.05
# Ours: players show the end of the longest track, so editors send ends that are a little later than
# the last picture or sample. A larger difference is a mistake.
MAX_OVERHANG: Final = 0.5
# Ours: a longer picture is held and does not define the gap.
LONGEST_FRAME: Final = 0.1

# The only models that use the temperature, by Sync.so's documentation of its models.
TEMPERATURE_MODELS: Final = frozenset({"lipsync-2", "lipsync-2-pro"})
REACT_SECONDS: Final = 15.0

# GhostCut's documentation of `extra_inpaint_config.model`: the most boxes of the tier lite, and the
# share of the frame that the one box of the others stays below.
MAX_LITE_AREAS: Final = 10
PRO_SHARE: Final = {"pro": 0.20, "pro_large": 0.40}


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """The vendors' limits, checked after probing and before anything is paid.

    Attributes:
        video_bytes: Sync.so's largest asset.
        video_seconds: the longest clip of any Sync.so plan that has a listed limit.
        audio_seconds: Sync.so's limit for one audio (its documented error for longer ones).
        long_side: Sync.so's largest picture in pixels, longer side first.
        short_side: the shorter side of it.
        smallest_side: ours; a smaller picture shows no usable face.
        inpainting_bytes: GhostCut takes files smaller than this.
        inpainting_seconds: GhostCut's longest video.
    """

    video_bytes: int = 5 * 1024**3
    video_seconds: float = 1800.0
    audio_seconds: float = 300.0
    long_side: int = 4096
    short_side: int = 2160
    smallest_side: int = 64
    inpainting_bytes: int = 1000 * 1000 * 1000
    inpainting_seconds: float = 900.0


# The containers that the vendors list, by the names of `media.MediaInfo.container`.
LIP_SYNC_CONTAINERS: Final = frozenset({"mp4", "mov", "webm", "avi"})
INPAINTING_CONTAINERS: Final = frozenset({"mp4", "mov", "mkv", "avi"})
