"""The invariants of every job, under every fault."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from tasks.connections.run_history import RunHistory
from tests.chaos.jobs import Follower, Job
from tests.chaos.table import Table
from tests.support.jobs import Jobs

# Written anew by a repeated check or report, or when a submit is taken over; all others are written
# once.
_REWRITTEN = ("job.json", "preview.jpg", "-request-turn")


class Judge:
    """Compares a job's end with what was billed, stored and shown."""

    def __init__(self, jobs: Jobs, follower: Follower, table: Table) -> None:
        self._jobs = jobs
        self._follower = follower
        self._table = table

    def remember(self, job: Job) -> None:
        """Note the finished objects of a job: none of them may be written again."""
        for key, version in self._objects(job.job_id).items():
            if not key.endswith(_REWRITTEN):
                job.kept.setdefault(key, version)

    def end(self, job: Job, state: str) -> None:
        """Judge a job that has ended in a state type, and count it."""
        problems = []
        if state != job.ends:
            problems.append(f"ended as {state}: {self._jobs.state(job.job_id).message}")
        if job.retries:
            problems.append("bought another attempt before a retry")
        paid = self._jobs.paid(job.job_id)
        providers = ("sync_so", "ghostcut")
        accepted, billed = (tuple(paid[each][kind] for each in providers) for kind in (0, 1))
        if billed != job.billed:
            problems.append(f"billed {billed}, due {job.billed}")
        if accepted[0] > job.accepted[0] or accepted[1] > job.accepted[1]:
            problems.append(f"accepted {accepted}, at most {job.accepted}")
        problems += self._progress(job) + self._storage(job) + self._history(job)
        self._table.judge(job, (billed[0], billed[1]), problems)

    def _progress(self, job: Job) -> list[str]:
        followed = self._follower.forget(job.job_id)
        percents, problems = followed.percents, []
        if not job.twice_at_once:
            if percents != sorted(percents):
                problems.append(f"progress went back: {percents}")
            if len(followed.artifacts) != 1:
                problems.append(f"has {len(followed.artifacts)} progress artifacts")
        if job.ends == "COMPLETED" and percents[-1:] != [100]:
            problems.append(f"shows {percents[-1:]} %")
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
            return self._jobs.report(job.job_id)
        except ClientError:
            return None

    def _objects(self, job_id: str) -> dict[str, str]:
        """The objects of a job, its records included, each with its version."""
        found = {}
        for prefix in (f"jobs/{job_id}/", f"results/{job_id}/"):
            answer = self._jobs.s3.list_objects_v2(Bucket=self._jobs.stack.bucket, Prefix=prefix)
            for entry in answer.get("Contents", []):
                found[entry["Key"]] = f"{entry['ETag']} {entry['LastModified'].isoformat()}"
        return found

    def _history(self, job: Job) -> list[str]:
        history = self._jobs.history(job.job_id)
        states = [state.type.value for state in history]
        problems = []
        if states.count("COMPLETED") > 1 and not job.twice_at_once:
            problems.append("was completed twice")
        if "COMPLETED" in states and states[-1] != "COMPLETED":
            problems.append("left the state Completed")
        if job.ends == "COMPLETED" and "FAILED" in states and not job.failed:
            problems.append("was failed meanwhile")
        losses = RunHistory.of(history).losses
        if job.losses is not None and losses > job.losses:
            problems.append(f"counted {losses} losses of its worker, had {job.losses}")
        return problems
