"""The invariants: what must hold of every job, whatever was done to it."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from deployments.local.stack import BUCKET
from tests.chaos.jobs import Follower, Job, Runs
from tests.chaos.table import Table
from tests.chaos.world import World

# Written anew by whoever verifies or reports again, or takes the submit over; all else is written
# once.
_REWRITTEN = ("job.json", "preview.jpg", "-request-turn")


class Judge:
    """Compares a job's end with what was billed, stored and shown."""

    def __init__(self, world: World, runs: Runs, follower: Follower, table: Table) -> None:
        self._world = world
        self._runs = runs
        self._follower = follower
        self._table = table
        self._s3 = world.s3()

    def close(self) -> None:
        """Let go of the bucket."""
        self._s3.close()

    def remember(self, job: Job) -> None:
        """Note what a job has finished by now: none of it may be written again."""
        for key, version in self._objects(job.job_id).items():
            if not key.endswith(_REWRITTEN):
                job.kept.setdefault(key, version)

    def paid(self, job: Job) -> tuple[tuple[int, int], tuple[int, int]]:
        """The accepted and the billed attempts of a job, at (Sync.so, GhostCut)."""
        accepted, billed = [], []
        for server, step in (("sync-so", "lip-sync"), ("ghostcut", "inpainting")):
            mark = f"pv-{job.job_id}-{step}-"
            entries = [
                entry
                for entry in self._world.control(server, "audit")["jobs"]
                if (entry["reference"] or "").startswith(mark)
            ]
            accepted.append(len(entries))
            billed.append(sum(entry["billed"] for entry in entries))
        return (accepted[0], accepted[1]), (billed[0], billed[1])

    def end(self, job: Job, state: str) -> list[str]:
        """Judge a job that has ended in a state type, and count it; what is wrong."""
        problems = []
        if state != job.ends:
            problems.append(f"ended as {state}: {self._message(job)}")
        if job.retries:
            problems.append("bought another attempt before anyone retried it")
        progress = self._follower.forget(job.job_id)
        if progress is not None and not job.twins:
            problems.append(progress)
        accepted, billed = self.paid(job)
        if billed != job.billed:
            problems.append(f"billed {billed}, due {job.billed}")
        if accepted[0] > job.accepted[0] or accepted[1] > job.accepted[1]:
            problems.append(f"accepted {accepted}, at most {job.accepted}")
        problems += self._storage(job)
        problems += self._history(job)
        if job.ends == "COMPLETED" and self._follower.percent(job.job_id) != 100:
            problems.append(f"shows {self._follower.percent(job.job_id)} %")
        self._table.judge(job, billed, problems)
        return problems

    def _storage(self, job: Job) -> list[str]:
        problems = []
        objects = self._objects(job.job_id)
        for key, version in job.kept.items():
            if objects.get(key) != version:
                problems.append(f"{key} was written again or lost")
        final = f"jobs/{job.job_id}/pro_final_result_{job.job_id}.mp4"
        synced = f"jobs/{job.job_id}/pro_sync_result_{job.job_id}.mp4"
        results = {key for key in objects if "_result_" in key}
        if job.ends == "COMPLETED":
            wanted = {synced, final} if job.inpainting else {synced}
            if results != wanted:
                problems.append(f"results are {sorted(results)}")
        report = self._report(job)
        if report is None:
            problems.append("has no job.json")
        elif report["status"] != job.ends.lower():
            problems.append(f"job.json says {report['status']}")
        return problems

    def _report(self, job: Job) -> dict[str, Any] | None:
        try:
            found = self._s3.get_object(Bucket=BUCKET, Key=f"jobs/{job.job_id}/job.json")
        except ClientError:
            return None
        report: dict[str, Any] = json.loads(found["Body"].read())
        return report

    def _objects(self, job_id: str) -> dict[str, str]:
        """The objects of a job, its records included, with what changes when one is written."""
        found = {}
        for prefix in (f"jobs/{job_id}/", f"results/{job_id}/"):
            answer = self._s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
            for entry in answer.get("Contents", []):
                found[entry["Key"]] = f"{entry['ETag']} {entry['LastModified'].isoformat()}"
        return found

    def _history(self, job: Job) -> list[str]:
        states = [state["type"] for state in self._runs.history(job.job_id)]
        if states.count("COMPLETED") > 1 and not job.twins:
            return ["was completed twice"]
        if "COMPLETED" in states and states[-1] != "COMPLETED":
            return ["left the state Completed"]
        return []

    def _message(self, job: Job) -> str:
        history = self._runs.history(job.job_id)
        return str(history[-1]["message"]) if history else "no states"
