"""`python -m sandbox`: the embedded S3, Sync.so and GhostCut, alone or all three.

Secrets come from the environment (SANDBOX_S3_ACCESS_KEY, SANDBOX_S3_SECRET_KEY,
SANDBOX_SYNC_SO_API_KEY, SANDBOX_GHOSTCUT_APP_KEY, SANDBOX_GHOSTCUT_APP_SECRET) or from flags;
without any, the well-known values of README.md hold, which is why it listens on loopback only.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from sandbox.common.folder import FolderInUseError, FolderLock
from sandbox.common.server import PortTakenError, serve_forever

PORT_BASE = 4201
DATA_DIR = ".sandbox/data"
REGION = "us-east-1"
SERVERS = ("s3", "sync-so", "ghostcut")
SECRETS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "s3": {
        "access_key": ("SANDBOX_S3_ACCESS_KEY", "sandbox"),
        "secret_key": ("SANDBOX_S3_SECRET_KEY", "sandbox-secret"),
    },
    "sync-so": {"api_key": ("SANDBOX_SYNC_SO_API_KEY", "sandbox-sync-so-key")},
    "ghostcut": {
        "app_key": ("SANDBOX_GHOSTCUT_APP_KEY", "sandbox-app-key"),
        "app_secret": ("SANDBOX_GHOSTCUT_APP_SECRET", "sandbox-app-secret"),
    },
}
"""Per server: the option, its environment variable, the well-known value."""

STOP_TIMEOUT = 15.0
EXIT_FAILED = 1
EXIT_PORT_TAKEN = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 3 for a taken port, 2 for bad usage, 1 for other failures."""
    options = _parser().parse_args(argv)
    if options.command == "sample":
        return _sample(options)
    if options.command is None:
        return _all(options)
    if options.with_parent:
        _end_with_parent()
    data_dir = Path(options.data_dir) / options.command
    lock = FolderLock(data_dir)
    try:
        lock.take()
        _serve(options, data_dir)
    except PortTakenError as error:
        return _fail(f"sandbox {options.command}: {error.strerror}", EXIT_PORT_TAKEN)
    except FolderInUseError as error:
        return _fail(f"sandbox {options.command}: {error}", EXIT_FAILED)
    finally:
        lock.release()
    return 0


def _serve(options: argparse.Namespace, data_dir: Path) -> None:
    app: Any
    if options.command == "s3":
        from sandbox.s3 import create_app as s3

        app = s3(
            data_dir=data_dir,
            access_key=options.access_key,
            secret_key=options.secret_key,
            region=options.region,
        )
    elif options.command == "sync-so":
        from sandbox.sync_so import create_app as sync_so

        app = sync_so(data_dir=data_dir, api_key=options.api_key)
    else:
        from sandbox.ghostcut import create_app as ghostcut

        app = ghostcut(data_dir=data_dir, app_key=options.app_key, app_secret=options.app_secret)
    serve_forever(app, options.host, options.port, ready=lambda url: _ready(options.command, url))


def _all(options: argparse.Namespace) -> int:
    """All three, each in a process of its own; the end of one is the end of all."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    children = [
        # A session of its own keeps the terminal's Ctrl-C away; the pipe ends it with this process.
        subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "sandbox"),
                name,
                f"--host={options.host}",
                f"--port={options.port_base + offset}",
                f"--data-dir={options.data_dir}",
                "--with-parent",
            ],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        for offset, name in enumerate(SERVERS)
    ]
    try:
        while not stop.wait(0.1):
            ended = next((child for child in children if child.poll() is not None), None)
            if ended is not None:
                return ended.returncode or EXIT_FAILED
        return 0
    finally:
        _end(children)


def _end(children: Sequence["subprocess.Popen[bytes]"]) -> None:
    for child in children:
        child.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdin is not None:
            child.stdin.close()


def _end_with_parent() -> None:
    """Stop this server when the other end of standard input closes, however that came about."""

    stdin = sys.stdin.fileno()

    def watch() -> None:
        while os.read(stdin, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _sample(options: argparse.Namespace) -> int:
    from sandbox.media import MediaError
    from sandbox.media.sample.make_sample import make_sample

    try:
        sample = make_sample(
            Path(options.out),
            width=options.width,
            height=options.height,
            seconds=options.seconds,
            fps=options.fps,
            pan=not options.still,
        )
    except (MediaError, OSError) as error:
        return _fail(f"sandbox sample: {error}", EXIT_FAILED)
    print(f"sandbox sample: {sample.clip} (what is in it: {sample.description})")
    return 0


def _ready(name: str, url: str) -> None:
    print(f"sandbox {name}: ready at {url}", flush=True)


def _fail(text: str, code: int) -> int:
    print(text, file=sys.stderr, flush=True)
    return code


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--host", default="127.0.0.1", help="address to listen on")
    shared.add_argument(
        "--data-dir", default=DATA_DIR, help="each server keeps its state in a folder below"
    )
    parser = argparse.ArgumentParser("pro-video-sandbox", description=__doc__, parents=[shared])
    parser.add_argument(
        "--port-base", type=int, default=PORT_BASE, help="S3; then Sync.so, then GhostCut"
    )
    commands = parser.add_subparsers(dest="command", metavar="{s3,sync-so,ghostcut,sample}")
    for offset, name in enumerate(SERVERS):
        command = commands.add_parser(name, parents=[shared], help=f"the {name} server alone")
        command.add_argument("--port", type=int, default=PORT_BASE + offset)
        command.add_argument("--with-parent", action="store_true", help=argparse.SUPPRESS)
        for option, (variable, well_known) in SECRETS[name].items():
            command.add_argument(
                "--" + option.replace("_", "-"),
                default=os.environ.get(variable) or well_known,
                help=f"else ${variable}",
            )
        if name == "s3":
            command.add_argument("--region", default=REGION)
    sample = commands.add_parser("sample", help="write a demo clip whose clean original is known")
    sample.add_argument("--out", required=True, help="folder to write to")
    sample.add_argument("--width", type=int, default=640)
    sample.add_argument("--height", type=int, default=360)
    sample.add_argument("--seconds", type=float, default=8.0)
    sample.add_argument("--fps", type=int, default=25)
    sample.add_argument("--still", action="store_true", help="the camera does not move")
    return parser


if __name__ == "__main__":
    sys.exit(main())
