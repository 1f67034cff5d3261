"""The editor's frontend, as the gateway meets it: a form as a browser writes it, and a real browser
with a page of another origin."""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import shutil
import string
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_ALPHANUMERIC = string.ascii_letters + string.digits
_ESCAPED = str.maketrans({"\n": "%0A", "\r": "%0D", '"': "%22"})


@dataclass(frozen=True)
class Part:
    """An entry of a FormData: text, or a file when it has a name."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str = ""


def browser_form(parts: Sequence[Part]) -> tuple[str, bytes]:
    """Content type and body of a form, byte for byte as browsers of the WebKit family write it (the
    HTML standard's multipart/form-data encoding)."""
    boundary = "----WebKitFormBoundary" + "".join(secrets.choice(_ALPHANUMERIC) for _ in range(16))
    body = bytearray()
    for part in parts:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{part.name}"'
        if part.filename is not None:
            head += f'; filename="{part.filename.translate(_ESCAPED)}"'
            head += f"\r\nContent-Type: {part.content_type}"
        body += head.encode() + b"\r\n\r\n" + part.content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return f"multipart/form-data; boundary={boundary}", bytes(body)


PAGE = """<!doctype html><meta charset="utf-8"><title>Editor</title><script type="module">
const given = GIVEN
const report = found => fetch('/report', {method: 'POST', body: JSON.stringify(found)})
const blob = async path => (await fetch(path)).blob()
const file = async ({path, name, type}) => new File([await blob(path)], name, {type})
try {
  const video = await file(given.video)
  const audios = await Promise.all(given.audios.map(file))
  const {segments, effects} = given
  SNIPPET
  await report({job, view})
} catch (error) {
  await report({error: String(error)})
}
</script>"""


@dataclass
class Site:
    """Pages and files of one origin; what pages report comes out of ``reports``."""

    origin: str
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    reports: queue.Queue[Any] = field(default_factory=queue.Queue)


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, site: Site, *arguments: Any) -> None:
        self.site = site
        super().__init__(*arguments)

    def do_GET(self) -> None:
        kind, content = self.site.files.get(urlsplit(self.path).path, ("", b""))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.site.reports.put(json.loads(self.rfile.read(size)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving_site(origin: str) -> Iterator[Site]:
    """A site at an origin of this machine, such as ``http://127.0.0.1:8000``."""
    site = Site(origin)
    address = urlsplit(origin)
    with ThreadingHTTPServer(
        (str(address.hostname), address.port or 80), partial(_Handler, site)
    ) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


def look_at(address: str, site: Site, profile: Path, seconds: float) -> Any:
    """The report of the page at an address, opened in a headless browser."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", f"--user-data-dir={profile}"]
    # Nothing but the page may be asked for.
    command += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    command += ["--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"]
    command += [
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--remote-debugging-port=0",
    ]
    with (profile.parent / "browser.log").open("wb") as log:
        browser = subprocess.Popen([*command, address], stdout=log, stderr=log)
    try:
        return site.reports.get(timeout=seconds)
    finally:
        browser.terminate()
        try:
            browser.wait(10)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait(10)
