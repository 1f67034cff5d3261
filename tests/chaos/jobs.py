"""Jobs of the suite: what they work on, how they are started and followed."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.local.stack import BUCKET
from sandbox.media.sample.make_sample import describe, make_sample
from tests.chaos.world import World

FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
"""State types in which a job stays. CRASHED is none: the server schedules the job anew."""

# Links outlive the whole suite.
_LINK_SECONDS = 24 * 3600

# As long as a part and a half of a transfer, so that the upload of the clip has several parts.
_PADDING = 24 * 1024 * 1024


@dataclass
class Job:
    """One job and what is expected of it.

    Attributes:
        job_id: id of its flow run.
        rows: lines of the table that it counts for.
        inpainting: does it have areas?
        ends: state type in which it must end.
        accepted: most paid attempts that may be accepted at each provider.
        billed: attempts that must be billed at (Sync.so, GhostCut).
        twins: do two processes run it at once? Each shows its progress, and each completes it.
        retries: how often it is retried after it failed, as a user would.
        kept: objects that were finished when the job died, with their versions.
        lives: worker processes that it has lived in.
    """

    job_id: str
    rows: list[str]
    inpainting: bool = True
    ends: str = "COMPLETED"
    accepted: tuple[int, int] = (1, 1)
    billed: tuple[int, int] = (1, 1)
    twins: bool = False
    retries: int = 0
    kept: dict[str, str] = field(default_factory=dict)
    lives: int = 0


class Clips:
    """The clip that all jobs work on, in the forms in which a source may come."""

    def __init__(self, world: World) -> None:
        folder = world.folder / "clip"
        sample = make_sample(folder, width=160, height=90, seconds=2.0)
        described: dict[str, Any] = dict(describe(sample))
        self._segments: list[dict[str, Any]] = described["segments"]
        self._areas: list[dict[str, Any]] = described["annotation_areas"]
        clip = Path(described["video"])
        large = folder / "large.mp4"
        # A box that readers skip.
        padding = (8 + _PADDING).to_bytes(4, "big") + b"free" + bytes(_PADDING)
        large.write_bytes(clip.read_bytes() + padding)
        s3 = world.s3()
        for name, path in (("clip.mp4", clip), ("large.mp4", large)):
            s3.upload_file(str(path), BUCKET, f"sources/{name}")
        self.sources = {
            "file": str(clip),
            "large file": str(large),
            "link": s3.generate_presigned_url(
                "get_object",
                Params={"Bucket": BUCKET, "Key": "sources/clip.mp4"},
                ExpiresIn=_LINK_SECONDS,
            ),
            "large link": s3.generate_presigned_url(
                "get_object",
                Params={"Bucket": BUCKET, "Key": "sources/large.mp4"},
                ExpiresIn=_LINK_SECONDS,
            ),
            "object": f"s3://{BUCKET}/sources/clip.mp4",
        }
        s3.close()

    def parameters(self, source: str = "file", *, inpainting: bool = True) -> dict[str, Any]:
        """Parameters of ``pro-video`` for one kind of source."""
        areas = self._areas if inpainting else []
        return {
            "video": self.sources[source],
            "segments": self._segments,
            "annotation_areas": areas,
            # Every job here buys its own, because what is counted is what was bought.
            "reuse_lip_sync": False,
        }


class Runs:
    """The jobs at the Prefect server."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._deployment = world.own_deployment()

    def create(self, parameters: dict[str, Any]) -> str:
        """Create a job that nobody takes up before :meth:`release`; its id."""
        made = self._world.api(
            "POST",
            f"/deployments/{self._deployment}/create_flow_run",
            {
                "parameters": parameters,
                "state": {
                    "type": "SCHEDULED",
                    "state_details": {"scheduled_time": "2999-01-01T00:00:00Z"},
                },
            },
        )
        return str(made["id"])

    def set_state(self, job_id: str, kind: str, name: str | None = None) -> None:
        """Force a state upon a job."""
        state = {"type": kind, "name": name} if name else {"type": kind}
        self._world.api("POST", f"/flow_runs/{job_id}/set_state", {"state": state, "force": True})

    def release(self, job_id: str) -> None:
        """Let a worker take a job up, or retry one that has ended."""
        self.set_state(job_id, "SCHEDULED")

    def states(self, job_ids: Iterable[str]) -> dict[str, str]:
        """The state types of jobs."""
        ids = list(job_ids)
        rows = self._world.api(
            "POST", "/flow_runs/filter", {"flow_runs": {"id": {"any_": ids}}, "limit": 200}
        )
        return {row["id"]: row["state_type"] for row in rows}

    def history(self, job_id: str) -> list[dict[str, Any]]:
        """All states of a job in their order."""
        found = self._world.api("GET", f"/flow_run_states/?flow_run_id={job_id}")
        return sorted(found, key=lambda state: str(state["timestamp"]))


class Follower:
    """Watches the progress artifacts of jobs from outside, as a person's browser would."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lock = threading.Lock()
        # Two looks at once could be noted in the wrong order.
        self._looking = threading.Lock()
        self._watched: set[str] = set()
        self._seen: dict[str, float] = {}
        self._artifacts: dict[str, set[str]] = {}
        self._problems: dict[str, str] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def watch(self, job_id: str) -> None:
        with self._lock:
            self._watched.add(job_id)

    def forget(self, job_id: str) -> str | None:
        """Stop watching; what was wrong, None when nothing."""
        self._look()
        with self._lock:
            self._watched.discard(job_id)
            problem = self._problems.get(job_id)
            if problem is None and len(self._artifacts.get(job_id, ())) > 1:
                problem = "has two progress artifacts"
            if problem is None and self._seen.get(job_id) is None:
                problem = "never showed progress"
            return problem

    def percent(self, job_id: str) -> float | None:
        """The percentage seen last."""
        with self._lock:
            return self._seen.get(job_id)

    def close(self) -> None:
        self._ended.set()
        self._thread.join(30)

    def _follow(self) -> None:
        while not self._ended.wait(0.5):
            self._look()

    def _look(self) -> None:
        with self._looking:
            with self._lock:
                watched = sorted(self._watched)
            if watched:
                self._note_all(watched)

    def _note_all(self, watched: list[str]) -> None:
        rows = self._world.api(
            "POST",
            "/artifacts/filter",
            {
                "artifacts": {
                    "key": {"any_": ["pro-video-progress"]},
                    "flow_run_id": {"any_": watched},
                },
                "limit": 200,
            },
        )
        with self._lock:
            for row in rows:
                self._note(row["flow_run_id"], row["id"], float(row["data"]))

    def _note(self, job_id: str, artifact: str, percent: float) -> None:
        self._artifacts.setdefault(job_id, set()).add(artifact)
        last = self._seen.get(job_id, 0.0)
        if percent < last:
            self._problems[job_id] = f"progress went back from {last:g} to {percent:g}"
        self._seen[job_id] = percent
