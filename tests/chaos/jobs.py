"""Jobs of the suite: their sources, expected ends, and progress."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.media.sample.make_sample import describe, make_sample
from tests.support.jobs import Followed, Jobs

# Links outlive the whole suite.
_LINK_SECONDS = 24 * 3600

# Each reading costs the Prefect server, which all jobs share.
_PAUSE_SECONDS = 1.0

# As long as a part and a half of a transfer, so that the upload of the clip has several parts.
_PADDING = 24 * 1024 * 1024


@dataclass
class Job:
    """One job and its expected end.

    Attributes:
        job_id: id of its flow run.
        rows: lines of the table that it counts for.
        inpainting: does it have areas?
        ends: state type in which it must end.
        accepted: most paid attempts that may be accepted at each provider.
        billed: attempts that must be billed at (Sync.so, GhostCut).
        twice_at_once: do two processes run it? Each shows its progress, and each completes it.
        losses: most losses of a worker that its history may show; None for any number.
        failed: was it failed before its end, as it had to be?
        retries: how often it is retried after it failed, as a user would.
        kept: objects that were finished when its process was killed, with their versions.
        processes: worker processes that it has run in.
    """

    job_id: str
    rows: list[str]
    inpainting: bool = True
    ends: str = "COMPLETED"
    accepted: tuple[int, int] = (1, 1)
    billed: tuple[int, int] = (1, 1)
    twice_at_once: bool = False
    losses: int | None = None
    failed: bool = False
    retries: int = 0
    kept: dict[str, str] = field(default_factory=dict)
    processes: int = 0


class Clips:
    """The clip that all jobs work on, as each kind of source.

    Args:
        jobs: whose bucket takes it.
        folder: for its files; made when it is missing.
    """

    def __init__(self, jobs: Jobs, folder: Path) -> None:
        sample = make_sample(folder, width=160, height=90, seconds=2.0)
        described: dict[str, Any] = dict(describe(sample))
        self._segments: list[dict[str, Any]] = described["segments"]
        self._areas: list[dict[str, Any]] = described["annotation_areas"]
        clip = Path(described["video"])
        large = folder / "large.mp4"
        # A box that readers skip.
        padding = (8 + _PADDING).to_bytes(4, "big") + b"free" + bytes(_PADDING)
        large.write_bytes(clip.read_bytes() + padding)
        self.sources = {
            "file": str(clip),
            "large file": str(large),
            "object": jobs.put("sources/clip.mp4", clip.read_bytes()),
        }
        jobs.put("sources/large.mp4", large.read_bytes())
        for kind, name in (("link", "clip.mp4"), ("large link", "large.mp4")):
            self.sources[kind] = jobs.s3.generate_presigned_url(
                "get_object",
                Params={"Bucket": jobs.stack.bucket, "Key": f"sources/{name}"},
                ExpiresIn=_LINK_SECONDS,
            )

    def parameters(self, source: str = "file", *, inpainting: bool = True) -> dict[str, Any]:
        """Parameters of ``pro-video`` for one kind of source."""
        areas = self._areas if inpainting else []
        return {
            "video": self.sources[source],
            "segments": self._segments,
            "annotation_areas": areas,
            # Every job buys its own lip-sync, for the purchases are counted.
            "reuse_lip_sync": False,
        }


class Follower:
    """Reads the progress of jobs from outside while they run, as a person's browser does."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        # Two reads at once could be noted in the wrong order.
        self._lock = threading.Lock()
        self._followed: dict[str, Followed] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def watch(self, job_id: str) -> None:
        """Follow a job from now on."""
        with self._lock:
            self._followed.setdefault(job_id, Followed())

    def forget(self, job_id: str) -> Followed:
        """Follow a job no more; all that was read of it."""
        self._read()
        with self._lock:
            return self._followed.pop(job_id)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join(100)

    def _follow(self) -> None:
        while not self._closed.wait(_PAUSE_SECONDS):
            self._read()

    def _read(self) -> None:
        with self._lock:
            self._jobs.read_progress(self._followed)
