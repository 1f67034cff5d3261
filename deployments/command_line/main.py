"""The entry of ``pro-video``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final

from cyclopts import App, Group, Parameter

from deployments.command_line import jobs, new_jobs
from deployments.command_line.output import (
    FAILED,
    INTERRUPTED,
    REFUSED,
    CommandError,
    note,
    note_problem,
)
from deployments.command_line.parts import PARTS, run_part
from pro_video.client import ClientError, Problem, Unavailable, Unreachable

_COMMANDS: Final[dict[str, Callable[..., int]]] = {
    "run": new_jobs.run,
    "estimate": new_jobs.estimate,
    "check": new_jobs.check,
    "status": jobs.status,
    "watch": jobs.watch,
    "list": jobs.list_jobs,
    "get": jobs.get,
    "open": jobs.open_job,
    "cancel": jobs.cancel,
    "retry": jobs.retry,
    "accept": jobs.accept,
}


def make_app() -> App:
    """The commands."""
    app = App(
        name="pro-video",
        help="Lip-sync segments of a video and remove text from it. The commands about jobs talk "
        "to the HTTP API: that of PRO_VIDEO_API, with PRO_VIDEO_TOKEN, or of the local stack.",
        help_format="markdown",
        default_parameter=Parameter(show_default=False, negative=()),
        version=lambda: version("pro-video"),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    app.register_install_completion_command(help="Complete this command in your shell.")
    group = Group.create_ordered("Jobs")
    for rank, (name, function) in enumerate(_COMMANDS.items()):
        app.command(function, name=name, group=group, sort_key=rank)
    group = Group.create_ordered("Installation")
    for name, (_, text) in PARTS.items():
        # For the list and the completion; their arguments are their own.
        app.command(App(name=name, help=text, group=group))
    return app


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Carry out a command.

    Returns:
        Its exit status: 0 done, 1 failed, 2 refused, 3 doubtful, 130 interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in PARTS:
        return run_part(given[0], given[1:])
    try:
        status: int | None = make_app()(given)
    except Problem as problem:
        note_problem(problem)
        return FAILED if isinstance(problem, Unavailable) else REFUSED
    except Unreachable as error:
        note(f"{error} Start the local stack with make up, or set PRO_VIDEO_API.")
        return FAILED
    except (ClientError, OSError) as error:
        note(str(error))
        return FAILED
    except CommandError as error:
        note(str(error))
        return REFUSED
    except KeyboardInterrupt:
        note("\nInterrupted. The jobs that were begun: pro-video list")
        return INTERRUPTED
    return status


if __name__ == "__main__":
    sys.exit(main())
