"""Everything that can go wrong, as types. The type tells whether another try may succeed.

    ProVideoError
    ├── TransientError                  another try of the same call may succeed
    │   ├── RateLimited                 429 for pace; carries the provider's own delay
    │   ├── SlotUnavailable             429 for concurrency: wait for a slot, nothing was created
    │   ├── ServiceUnavailable          no response, 5xx, a malformed body
    │   ├── OutcomeUnknown              a create was sent and its response was lost: it may be paid
    │   ├── LinkExpired                 a result link expired: the job has a fresh one
    │   ├── TransferInterrupted         missing bytes, or a wrong checksum
    │   └── StorageUnavailable          S3 did not answer, or answered 5xx / SlowDown
    └── TerminalError                   trying again changes nothing
        ├── RequestRefused              the request breaks rules; names every field
        ├── MediaUnusable               a video or audio is not what the job needs
        ├── SourceRefused               a source is not allowed, missing, or changed meanwhile
        ├── StorageRefused              S3 refuses (credentials, bucket, policy)
        ├── FilesRemoved                the cleanup has removed files of this job
        ├── CredentialsRefused          a provider does not accept the key
        ├── AccountBlocked              a provider asks for money or a better plan first
        │   └── ResultLocked            … before it gives a finished result out
        ├── ProviderRefused             a provider refuses this request
        │   └── RequestConflict         … because it has another one under the attempt's key
        ├── JobFailed                   a provider's job ended as failed
        │   └── JobFailedRetryable      … and its code says that a new attempt may succeed
        ├── DiedTooOften                the job's process was lost again and again
        ├── DeadlineExceeded            a wait reached its deadline; the provider's job may go on
        ├── OutputHeld                  a doubtful result, held at the user's wish
        └── OutputRejected              an unusable result

`message` is safe to show to a user: no key, no presigned query, no stack. It says what happened
and, where the user can act, what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ProVideoError(Exception):
    """Base of all errors of this project.

    Attributes:
        message: safe to show; the cause, and what to do next.
        stage: the row of the progress table, when known.
        provider: ``"sync.so"`` or ``"ghostcut"``, when one is involved.
        code: the provider's own code, or a stable one of ours, for machines.
        request_id: the provider's request id or trace, for its support, when it gave one.
    """

    def __init__(
        self,
        message: str,
        *,
        stage: str | None = None,
        provider: str | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.stage = stage
        self.provider = provider
        self.code = code
        self.request_id = request_id

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only arguments do not survive the default protocol of exceptions.
        return (rebuilt, (type(self), self.message, dict(self.__dict__)))


def rebuilt(cls: type[ProVideoError], message: str, state: dict[str, Any]) -> ProVideoError:
    """An error as it was in another process; ``state`` are its attributes."""
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class TransientError(ProVideoError):
    """Another try of the same call may succeed.

    ``retry_after`` is the pause in seconds that the other side asked for, if any.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, **context: Any) -> None:
        super().__init__(message, **context)
        self.retry_after = retry_after


class RateLimited(TransientError):
    """Too many calls; slow down."""


class SlotUnavailable(TransientError):
    """The account's concurrency is used up; nothing was created. Wait for a slot."""


class ServiceUnavailable(TransientError):
    """No response, a 5xx, or a malformed body. For calls that pay nothing."""


class OutcomeUnknown(TransientError):
    """A create was sent and its response was lost: the job may exist and be paid.

    ``job_id`` is the provider's job when it named one; follow it instead of sending again.
    """

    def __init__(self, message: str, *, job_id: str | None = None, **context: Any) -> None:
        super().__init__(message, **context)
        self.job_id = job_id


class LinkExpired(TransientError):
    """A result link expired; read the job again for a fresh one."""


class TransferInterrupted(TransientError):
    """Fewer bytes than promised, or a wrong checksum."""


class StorageUnavailable(TransientError):
    """S3 did not answer, or asked to slow down."""


class TerminalError(ProVideoError):
    """Trying the same again changes nothing."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One broken rule of a request.

    Attributes:
        field: path of the field, for example ``segments[1].end``.
        message: the rule with its limit, and what to do.
        code: stable name of the rule, for machines.
    """

    field: str
    message: str
    code: str = "invalid"

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class RequestRefused(TerminalError):
    """The request breaks rules; ``problems`` names every field at once."""

    def __init__(self, problems: list[FieldProblem], **context: Any) -> None:
        if not problems:
            raise ValueError("a refusal needs at least one problem")
        context.setdefault("code", "request_refused")
        super().__init__("; ".join(str(problem) for problem in problems), **context)
        self.problems = tuple(problems)


class MediaUnusable(TerminalError):
    """A video or audio is not what the job needs."""


class SourceRefused(TerminalError):
    """A source is not allowed, missing, too large, or changed while it was read."""


class StorageRefused(TerminalError):
    """S3 refuses: credentials, bucket or policy."""


class FilesRemoved(TerminalError):
    """The cleanup has removed files of this job, which therefore goes on no more."""


class CredentialsRefused(TerminalError):
    """A provider does not accept the key."""


class AccountBlocked(TerminalError):
    """A provider asks for money or a better plan first."""


class ResultLocked(AccountBlocked):
    """A provider's job is done, and its result is locked until the account pays for it."""


class ProviderRefused(TerminalError):
    """A provider refuses this request; nothing was created."""


class RequestConflict(ProviderRefused):
    """A provider has another request under this attempt's key; this one created nothing.

    The key belongs to the attempt alone. So an earlier send of the attempt arrived, and its job may
    exist and be paid.
    """


class JobFailed(TerminalError):
    """A provider's job ended as failed; the same request would fail again."""


class JobFailedRetryable(JobFailed):
    """A provider's job failed by a cause that may pass; a new attempt may succeed."""


class DiedTooOften(TerminalError):
    """The process of the job was lost too often."""


class DeadlineExceeded(TerminalError):
    """A wait reached its deadline. The provider's job may go on; a retry of the run follows it."""


class OutputHeld(TerminalError):
    """A result is doubtful, and the user asked to hold it; a retry of the run uses it."""


class OutputRejected(TerminalError):
    """A result is unusable; ``code`` names the check."""
