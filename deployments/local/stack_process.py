"""A local stack in processes of its own, for a program that needs one for a while."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from deployments.local.stack import Stack, free_port_base, stop_signal

# A first start, which makes the database, on a slow and busy machine.
START_SECONDS = 480.0
STOP_SECONDS = 60.0
UP = "deployments.local.up"
_PAUSE = 0.2


class StackNotReady(Exception):
    """The stack did not come up."""


class StackProcess:
    """The command that runs a stack. The caller that starts it has to stop it; a stack of
    ``deployments.local.up`` ends with the caller's process, however that ends.

    Args:
        folder: of the stack; its description appears there as ``stack.json``.
        port_base: the first of its ports.
        module: to run: :data:`UP`, or another one that takes ``--folder``.
        arguments: further ones.
        directory: its working directory; by default this process's own.
    """

    def __init__(
        self,
        folder: Path,
        port_base: int,
        *,
        module: str = UP,
        arguments: Sequence[str] = (),
        directory: Path | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.port_base = port_base
        if module == UP:
            arguments = [*arguments, "--parent", str(os.getpid())]
        self._command = [
            *(sys.executable, "-P", "-m", module, "--folder", str(self.folder)),
            *arguments,
        ]
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._left_over: int | None = None

    @property
    def _description(self) -> Path:
        return self.folder / "stack.json"

    def _written(self) -> int | None:
        # In nanoseconds. None: there is none.
        try:
            return self._description.stat().st_mtime_ns
        except FileNotFoundError:
            return None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The command's process.

        Raises:
            StackNotReady: it was never started.
        """
        if self._process is None:
            raise StackNotReady("The stack was not started")
        return self._process

    def launch(
        self, *, output: IO[bytes] | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the command without waiting for anything.

        Args:
            output: takes the output of its processes; None drops it.
            environment: of the command; by default this process's own with the stack's ports.
        """
        # A stack that was killed has left one.
        self._left_over = self._written()
        self._process = subprocess.Popen(
            self._command,
            cwd=self._directory,
            env=self._environment() if environment is None else environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if output is None else output,
            stderr=subprocess.STDOUT,
            # Its own group: Ctrl-C reaches it only through this process.
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PRO_VIDEO_PORT_BASE": str(self.port_base)}

    def wait_until_ready(self, seconds: float = START_SECONDS) -> dict[str, Any]:
        """Wait for the stack's description and return it.

        Raises:
            StackNotReady: the command ended, or it takes longer than ``seconds``.
        """
        deadline = time.monotonic() + seconds
        while self._written() in (None, self._left_over):
            if self.process.poll() is not None:
                raise StackNotReady("The stack ended while it started")
            if time.monotonic() > deadline:
                raise StackNotReady(f"The stack did not come up within {seconds:g} s")
            time.sleep(_PAUSE)
        found: dict[str, Any] = json.loads(self._description.read_text(encoding="utf-8"))
        return found

    def stop(self, order: signal.Signals = signal.SIGTERM, *, seconds: float = STOP_SECONDS) -> int:
        """Stop it, after ``seconds`` by SIGKILL; the exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(order)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextlib.contextmanager
def running_process(
    stack: Stack, name: str, changed: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """One process of a stack while the block runs, with its output in the stack's logs.

    Args:
        stack: whose process it is.
        name: of the process, as ``stack.commands()`` has it.
        changed: of its environment.
    """
    stack.logs.mkdir(exist_ok=True)
    with (stack.logs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            stack.commands()[name],
            env={**os.environ, **stack.environment(), **(changed or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.send_signal(stop_signal(name))
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running_stack(
    folder: Path,
    *,
    port_base: int | None = None,
    log: Path | None = None,
    module: str = UP,
    arguments: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
    """The description of a stack that runs while the block does.

    Args:
        folder: as for :class:`StackProcess`, like ``module`` and ``arguments``.
        port_base: the first of its ports; by default of a free run.
        log: takes the output of its processes; None drops it.

    Raises:
        StackNotReady: it did not come up.
    """
    stack = StackProcess(folder, port_base or free_port_base(), module=module, arguments=arguments)
    with contextlib.ExitStack() as closing:
        stack.launch(output=closing.enter_context(log.open("wb")) if log else None)
        closing.callback(stack.stop)
        try:
            description = stack.wait_until_ready()
        except StackNotReady as error:
            if log is None:
                raise
            raise StackNotReady(f"{error}; see {log}") from None
        yield description
