"""The numbers behind the rules of a request, with where each comes from.

Times are seconds, sizes are bytes, areas are shares of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Ours: bounds that keep a request small, where the vendors state none.
MAX_AREAS: Final = 100
MAX_LABEL: Final = 80
MAX_NAME: Final = 200
MAX_SOURCE: Final = 4096
MIN_REGION_SIDE: Final = 0.001
# 0.1 + 0.9000000001 is a mistake of typing or of floats, not a region outside of the frame.
FRAME_TOLERANCE: Final = 1e-6
TIME_TOLERANCE: Final = 1e-6

# Sync.so's documentation states neither a gap nor a minimum. Public projects report that touching
# ranges and very short ones are refused after upload, so both are kept away from the edge.
MIN_SEGMENT: Final = 0.3
MIN_GAP: Final = 0.05
# Reported: a range that ends even 2 ms after the media's end is refused, and the vendor measures
# the length itself. Ends are therefore moved this much inside.
VIDEO_END_MARGIN: Final = 0.1
AUDIO_END_MARGIN: Final = 0.05
# Ours: players show the end of the longest track, so editors send ends that are a little later than
# the last picture or sample. More than this is a mistake.
MAX_OVERHANG: Final = 0.5
# Ours: a picture that stands longer than this is held, and no measure for a gap.
LONGEST_FRAME: Final = 0.1

# Sync.so's documentation of its models: the only ones that use the temperature.
TEMPERATURE_MODELS: Final = frozenset({"lipsync-2", "lipsync-2-pro"})
REACT_SECONDS: Final = 15.0

# GhostCut's documentation of `extra_inpaint_config.model`: boxes of each tier and the share of the
# frame that the one box stays below.
MAX_LITE_AREAS: Final = 10
PRO_SHARE: Final = {"pro": 0.20, "pro_large": 0.40}

OPEN_END: Final = 99999.0
"""GhostCut's customary end of a mask that lasts until the end of the video, in seconds."""


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """The vendors' limits, checked after probing and before anything is paid.

    Attributes:
        video_bytes: Sync.so's largest asset.
        video_seconds: the longest clip of any Sync.so plan that has a listed limit.
        audio_seconds: Sync.so's limit for one audio (its documented error for longer ones).
        long_side: Sync.so's largest picture in pixels, longer side first.
        short_side: the shorter side of it.
        smallest_side: ours; below it there is no face to work on.
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
