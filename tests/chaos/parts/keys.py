"""The keys of both providers are changed under waiting jobs, and the blocks are corrected later."""

from __future__ import annotations

import random
import secrets

from tests.chaos.batch import held, judge_all, new_jobs, until, until_waiting, working
from tests.chaos.jobs import Clips, Job
from tests.chaos.processes import Suite

_AT_EACH = 25


def key_rotation(suite: Suite, clips: Clips, chance: random.Random) -> None:
    """Half of the jobs wait at each provider until all of them were refused."""
    name = f"both keys changed under {2 * _AT_EACH} waiting jobs"
    at_sync_so = new_jobs(suite, clips, name, _AT_EACH)
    at_ghostcut = new_jobs(suite, clips, name, _AT_EACH)
    jobs = at_ghostcut + at_sync_so
    new = {each: secrets.token_hex(16) for each in ("api_key", "app_secret")}
    try:
        with working(suite):
            with held(suite):
                # Jobs go on to GhostCut before the others come to Sync.so.
                suite.stack.control("sync_so", "settings", hold=False)
                suite.release(at_ghostcut)
                until_waiting(suite, at_ghostcut, "ghostcut")
                suite.stack.control("sync_so", "settings", hold=True)
                suite.release(at_sync_so)
                until_waiting(suite, at_sync_so)
                _change_keys(suite, **new)
                suite.table.inject(name, 2)
                until(lambda: all(_was_refused(suite, job) for job in jobs), "all are refused")
            suite.register(
                PRO_VIDEO_SYNC_SO_API_KEY=new["api_key"],
                PRO_VIDEO_GHOSTCUT_APP_SECRET=new["app_secret"],
            ).check_returncode()
            judge_all(suite, jobs)
    finally:
        _change_keys(suite, api_key="", app_secret="")
        suite.register().check_returncode()


def _change_keys(suite: Suite, *, api_key: str, app_secret: str) -> None:
    suite.stack.control("sync_so", "settings", api_key=api_key)
    suite.stack.control("ghostcut", "settings", app_secret=app_secret)


def _was_refused(suite: Suite, job: Job) -> bool:
    return "refuses the key" in (suite.jobs.state(job.job_id).message or "")
