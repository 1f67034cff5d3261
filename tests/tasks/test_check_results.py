"""Results whose checks cannot be made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect.logging import disable_run_logger

from pro_video.core.errors import MediaUnusable, StorageUnavailable
from pro_video.core.stopping import Stopped, StopReason
from pro_video.judging.verdict import Judgement, Verdict
from tasks.check_results import judged
from tasks.run.job import Job
from tasks.run.job_state import LIP_SYNC


@pytest.fixture(autouse=True)
def no_run() -> Iterator[None]:
    """There is no flow run whose log could be written."""
    with disable_run_logger():
        yield


async def failing(error: Exception) -> Judgement:
    raise error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MediaUnusable("it took too long"), "it took too long"),
        (ZeroDivisionError("by zero"), "the check failed (ZeroDivisionError: by zero)"),
        (ValueError("at https://s3/x?X-Amz-Signature=secret"), "ValueError: at https://s3/x?***"),
    ],
)
async def test_what_cannot_be_checked_is_doubtful(job: Job, error: Exception, says: str) -> None:
    found = await judged(job, LIP_SYNC, failing(error))
    assert found.verdict is Verdict.DOUBTFUL
    [warning] = found.warnings
    assert warning.code == "output_not_judged"
    assert says in warning.message
    assert "secret" not in warning.message


@pytest.mark.parametrize(
    "error", [StorageUnavailable("S3 does not answer"), Stopped(StopReason.HANDOVER)]
)
async def test_what_says_nothing_of_the_file_is_passed_on(job: Job, error: Exception) -> None:
    with pytest.raises(type(error)):
        await judged(job, LIP_SYNC, failing(error))
