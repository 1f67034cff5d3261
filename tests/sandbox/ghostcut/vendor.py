"""Common parts of the tests: a signing client of the emulator, a receiver of callbacks, clips."""

import hashlib
import json
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from tests.sandbox.control import Control, wait_until
from tests.support.media.clips import Picture, write_clip

GATEWAY = "/v-w-c/gateway/ve"
SUBTITLE = [[0.1, 0.7], [0.9, 0.7], [0.9, 0.95], [0.1, 0.95]]
WIDTH, HEIGHT, FPS, SECONDS = 160, 96, 20, 1.5

Row = dict[str, Any]


def sign(raw: bytes, secret: str) -> str:
    """The vendor's formula, written down a second time on purpose."""
    return hashlib.md5(hashlib.md5(raw).hexdigest().encode() + secret.encode()).hexdigest()


def masks(*items: dict[str, Any]) -> str:
    return json.dumps(list(items))


def mask(kind: str = "remove", region: Any = SUBTITLE, **window: float) -> dict[str, Any]:
    return {"type": kind, "region": region, **window}


class Vendor(Control):
    """Speaks to one emulator as one account."""

    def __init__(self, base_url: str, key: str, secret: str, source: str = "") -> None:
        self.http = httpx.Client(base_url=base_url, timeout=15, trust_env=False, verify=False)
        self.key, self.secret, self.source = key, secret, source

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        signed = {
            "Content-Type": "application/json",
            "AppKey": self.key,
            "AppSign": sign(raw, self.secret),
            **headers,
        }
        return self.http.post(path, content=raw, headers=signed)

    def call(self, path: str, body: Any) -> dict[str, Any]:
        answer = self.post(GATEWAY + path, body)
        assert answer.status_code == 200
        envelope: dict[str, Any] = answer.json()
        return envelope

    def body(self, path: str, body: Any) -> Any:
        envelope = self.call(path, body)
        assert envelope["code"] == 1000, envelope
        return envelope["body"]

    def request(self, **fields: Any) -> dict[str, Any]:
        """A valid request for one work; a field given as None is left out."""
        request = {
            "urls": [self.source],
            "names": ["job"],
            "needChineseOcclude": 2,
            "videoInpaintLang": "all",
            "videoInpaintMasks": masks(mask()),
            "resolution": "1080p",
            **fields,
        }
        return {name: value for name, value in request.items() if value is not None}

    def submit(self, **fields: Any) -> int:
        body = self.body("/work/free", self.request(**fields))
        return int(body["dataList"][0]["id"])

    def rows(self, **query: Any) -> list[Row]:
        rows: list[Row] = self.body("/work/status", query)["content"]
        return rows

    def row(self, work: int) -> Row:
        (row,) = self.rows(idWorks=[work])
        return row

    def ended(self, work: int) -> Row:
        row: Row = wait_until(lambda: (row := self.row(work))["processStatus"] >= 1 and row)
        return row

    def jobs(self) -> list[dict[str, Any]]:
        return [job for job in self.audit()["jobs"] if job["app_key"] == self.key]

    def balance(self) -> float:
        assets = self.body("/point/query", {})["pointAssets"]
        return float(sum(asset["pointBalance"] for asset in assets))

    def top_up(self, points: float) -> None:
        body = {"app_key": self.key, "balance": points}
        self.http.put("/_sandbox/points", json=body).raise_for_status()


class Receiver:
    """Takes callbacks; `script` lists the (status, body) to answer with before 200 and "ok"."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[tuple[str, bytes]] = []
        self.script: list[tuple[int, bytes]] = []

    async def receive(self, request: Request) -> Response:
        self.received.append((request.headers["callback-sign"], await request.body()))
        status, body = self.script.pop(0) if self.script else (200, b"ok")
        return Response(body, status)

    def rows(self) -> list[Row]:
        return [json.loads(raw) for _, raw in self.received]


def write_source(path: Path, *, faststart: bool = False) -> None:
    """A grey gradient with hard black and white bars in the subtitle area, and a tone."""
    size: dict[str, Any] = {"width": WIDTH, "height": HEIGHT, "seconds": SECONDS, "fps": FPS}
    write_clip(path, **size, crf=12, draw=lambda index, *_: picture(index), faststart=faststart)


def clean_picture(index: int) -> Picture:
    across = np.linspace(60, 180, WIDTH)[None, :] + np.linspace(0, 40, HEIGHT)[:, None]
    return np.repeat((across + index * 0.2).astype(np.uint8)[:, :, None], 3, axis=2)


def picture(index: int) -> Picture:
    image = clean_picture(index)
    for left in range(30, 130, 8):
        image[74:86, left : left + 4] = 255
        image[74:86, left + 4 : left + 5] = 0
    return image


def pictures(path: Path) -> list[Picture]:
    with av.open(str(path)) as container:
        return [
            frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in container.decode(video=0)
        ]
