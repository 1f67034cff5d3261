"""The editor's frontend, as the gateway meets it: a form as a browser writes it, and a real browser
with a page of another origin."""

from __future__ import annotations

import json
import secrets
import shutil
import string
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.source_server import SourceServer

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


def look_at(site: SourceServer, profile: Path, seconds: float) -> Any:
    """The report of a site's page, opened in a headless browser."""
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
        browser = subprocess.Popen([*command, site.url("/")], stdout=log, stderr=log)
    try:
        return json.loads(site.posted.get(timeout=seconds))
    finally:
        browser.terminate()
        try:
            browser.wait(10)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait(10)
