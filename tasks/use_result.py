"""Decides whether a paid result is used: by its verdict, by the user's ``on_doubt``, and by a later
decision of a person.

A good result is used. A doubtful one is used with warnings, unless the user asked to hold it; a
retry of the held run then uses it. An unusable one stays in the bucket; a retry of the run fetches
it from the provider once more, and a person may accept it as it is. Nothing new is bought here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count

from pydantic import ValidationError

from pro_video.core.errors import OutputHeld, OutputRejected, ProVideoError, TerminalError
from pro_video.core.job_names import accepted_label
from pro_video.core.job_warning import JobWarning
from pro_video.judging.verdict import OnDoubt, Verdict
from pro_video.records import Acceptance, StageResult, Verified
from tasks.attempts.step import PaidStep
from tasks.connections.prefect_queries import read_labels
from tasks.run.closed_attempts import AttemptFailed, was_reported
from tasks.run.job import Job
from tasks.run.job_state import INPAINTING, LIP_SYNC

# Each copy is a retry by a user, and each stays in the bucket.
_MOST_COPIES = 10
# Warnings that a message quotes; all of them are in the result.
_QUOTED = 3
_RESULT_NAMES = {LIP_SYNC: "the lip-sync result", INPAINTING: "the text removal's result"}


async def acceptance(job: Job, key: str) -> Acceptance | None:
    """A person's decision to use a result as it is, from the label of the job's run.

    Raises:
        httpx.HTTPError: Prefect does not answer.
    """
    labels = await read_labels(job.job_id)
    try:
        return Acceptance.model_validate_json(str(labels.get(accepted_label(key))))
    except ValidationError:
        return None


async def use_result(
    job: Job,
    step: PaidStep,
    stage: StageResult,
    on_doubt: OnDoubt,
    *,
    decision: Callable[[Job, str], Awaitable[Acceptance | None]] = acceptance,
) -> tuple[StageResult, Verified]:
    """The result that the job goes on with, and the judgement of the checks.

    Args:
        job: the job.
        step: the step that the result is of.
        stage: the finished stage.
        on_doubt: the user's choice for a doubtful result.
        decision: reads a person's decision about an object.

    Raises:
        AttemptFailed: it is held or unusable; ``error`` says how to go on.
        OutputRejected: it is unusable and could not be fetched once more.
        TransientError: it cannot be judged now.
        Stopped: the job was cancelled or is handed over.
    """
    storage = await step.storage()
    for copy in count(1):
        job.state.stages[step.name] = stage
        verified = await step.judge(stage, copy)
        job.state.preview = verified.preview
        verdict, warnings = verified.judgement.verdict, verified.judgement.warnings
        await job.warn(step.name, warnings)
        if verdict is Verdict.GOOD or (verdict is Verdict.DOUBTFUL and on_doubt == "deliver"):
            break
        job.state.rejected_key = stage.stored.key
        accepted = await decision(job, stage.stored.key)
        if accepted is not None:
            job.state.accepted = accepted
            await job.warn(step.name, [*warnings, _accepted(step, accepted)])
            break
        retried = await was_reported(storage, job, step.name, stage.attempt, copy)
        if retried and verdict is Verdict.DOUBTFUL:
            break
        error = _refusal(job, step, stage, verified, copy)
        if not retried or copy == _MOST_COPIES:
            raise AttemptFailed(error, step.name, stage.attempt, copy)
        stage = await _again(step, stage, copy + 1, error)
    job.state.rejected_key = None
    return stage, verified


async def _again(
    step: PaidStep, stage: StageResult, copy: int, refusal: TerminalError
) -> StageResult:
    try:
        stored = await step.fetch_again(stage, copy)
    except ProVideoError as error:
        raise OutputRejected(
            f"{refusal.message} It could not be fetched once more: {error.message}",
            code=refusal.code,
            provider=error.provider,
            request_id=error.request_id,
        ) from error
    return stage.model_copy(update={"stored": stored.file, "stored_at": stored.stored_at})


def _accepted(step: PaidStep, accepted: Acceptance) -> JobWarning:
    return JobWarning(
        code="output_accepted",
        message=f"{accepted.by} decided on {accepted.at:%Y-%m-%d at %H:%M} UTC to use "
        f"{_RESULT_NAMES[step.name]} as it is.",
        stage=step.name,
    )


def _refusal(
    job: Job, step: PaidStep, stage: StageResult, verified: Verified, copy: int
) -> TerminalError:
    """The error for a result that is not used: reason, object, and every way to go on."""
    judgement = verified.judgement
    key, what = stage.stored.key, _RESULT_NAMES[step.name]
    another = "Start a new job to buy another."
    if stage.reused_from is not None:
        another = "Start a new job with reuse_lip_sync off to buy another."
    if judgement.verdict is Verdict.DOUBTFUL:
        return OutputHeld(
            f"{what} is doubtful. {_quoted(judgement.warnings)} Look at it: {key}. Retry this run "
            f"to use it as it is; nothing is bought again. {another}",
            code="output_held",
        )
    again = f"It was fetched {copy} times."
    if copy < _MOST_COPIES:
        again = (
            f"Retry this run to fetch it from {step.provider.name} once more and judge it again; "
            "nothing is bought."
        )
    return OutputRejected(
        f"{what} is unusable. {_quoted(judgement.warnings[:1])} It is kept: {key}. {again} To use "
        f"it as it is: POST /api/v1/jobs/{job.job_id}/accept. {another}",
        code=judgement.warnings[0].code if judgement.warnings else "output_unusable",
    )


def _quoted(warnings: Sequence[JobWarning]) -> str:
    """The first warnings as sentences."""
    sentences = [f"{each.message[:1].upper()}{each.message[1:].rstrip('.')}." for each in warnings]
    if len(sentences) > _QUOTED:
        sentences[_QUOTED:] = [f"{len(sentences) - _QUOTED} more warnings are in the report."]
    return " ".join(sentences)
