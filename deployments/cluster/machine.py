"""Runs a Python module as if on a machine of its own: with a host name, process ids and a network
that no other process shares (Linux namespaces).

Loopback is the only network there, and the named ports of it lead to the same ports of this
machine. No privilege is needed where the kernel lets users make namespaces.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

HOST: Final = "127.0.0.1"

# linux/sched.h, linux/sockios.h, linux/if.h, linux/prctl.h
_CLONE_NEWUTS, _CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 1 << 26, 1 << 28, 1 << 29, 1 << 30
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_PR_SET_PDEATHSIG = 1

_PIECE = 65536


def allowed() -> bool:
    """May this process make namespaces?"""
    trial = [sys.executable, "-P", "-m", "deployments.cluster.machine", "--name", "trial"]
    done = subprocess.run([*trial, "--ports", "--", "this"], capture_output=True, check=False)
    return done.returncode == 0


def enter(name: str) -> None:
    """Move this process to a new network with loopback and to a new host name; the processes that
    it starts from now on have ids of their own.

    Raises:
        OSError: the kernel does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    flags = _CLONE_NEWUTS | _CLONE_NEWPID | _CLONE_NEWNET | (_CLONE_NEWUSER if user else 0)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")
    if user:
        for file, text in (
            ("setgroups", "deny"),
            ("uid_map", f"0 {user} 1"),
            ("gid_map", f"0 {group} 1"),
        ):
            Path("/proc/self", file).write_text(text, encoding="ascii")
    socket.sethostname(name)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def run(name: str, ports: Sequence[int], module: Sequence[str]) -> int:
    """Run a module on a machine of its own to its end; its exit status.

    SIGTERM and SIGINT are passed on. The module is killed when this process is.
    """
    ours, theirs = socket.socketpair()
    relay = [sys.executable, "-P", "-m", "deployments.cluster.machine", "--relay"]
    with theirs:
        # It stays in the network of this machine, and ends with this process.
        subprocess.Popen([*relay, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    enter(name)
    listeners = [socket.create_server((HOST, port)) for port in ports]
    socket.send_fds(ours, [bytes(1)], [each.fileno() for each in listeners])
    libc = ctypes.CDLL(None)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", *module],
        preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
    )

    def pass_on(number: int, _frame: FrameType | None) -> None:
        process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    return process.wait()


async def relay(control: socket.socket) -> None:
    """Lead connections to the listening sockets that ``control`` brings to the same ports here,
    until its other end is closed."""
    _, descriptors, _, _ = socket.recv_fds(control, 1, 64)
    for each in descriptors:
        listener = socket.socket(fileno=each)
        await asyncio.start_server(_connected(listener.getsockname()[1]), sock=listener)
    control.setblocking(False)
    await asyncio.get_running_loop().sock_recv(control, 1)


def _connected(
    port: int,
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection(HOST, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, server), _copy(answers, writer))

    return connected


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError), contextlib.closing(writer):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()


def main() -> int:
    """Entry of ``python -m deployments.cluster.machine``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="machine", help="of the host")
    parser.add_argument("--ports", type=int, nargs="*", default=[], help="that lead out of it")
    parser.add_argument("--relay", type=int, help=argparse.SUPPRESS)
    parser.add_argument("module", nargs="*", help="a Python module and its arguments")
    options = parser.parse_args()
    if options.relay is not None:
        with socket.socket(fileno=options.relay) as control:
            asyncio.run(relay(control))
        return 0
    return run(options.name, options.ports, options.module)


if __name__ == "__main__":
    sys.exit(main())
