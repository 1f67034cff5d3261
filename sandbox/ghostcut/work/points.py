"""The points of an account: assets with a balance, prices, and charges.

Source: vendor docs, "point query". The unit of billing and the prices are third-party figures,
hence switches (see the README).
"""

import math
import time
from typing import Any

from sandbox.common.settings import SwitchBoard
from sandbox.ghostcut.emulator import Emulator

_KIND = "asset"
_YEAR = 365 * 86400.0


def grant_first(emulator: Emulator, account: str, amount: float) -> None:
    """Give an account its first asset, unless it ever had one."""
    if emulator.store.counter(f"assets of {account}", 0) == 0:
        grant(emulator, account, amount)


def grant(emulator: Emulator, account: str, amount: float) -> None:
    """Replace the assets of an account by one of `amount` points that expires in a year."""
    store = emulator.store
    with store.transaction():
        for key, asset in store.items(_KIND):
            if asset["account"] == account:
                store.delete(_KIND, key)
        store.counter(f"assets of {account}")
        number = 3100000 + store.counter("asset")
        now = int(time.time() * 1000)
        row = {
            "id": number,
            "company": 1,
            "uid": "sandbox",
            "ctime": now,
            "lutime": now,
            "pointAmount": amount,
            "pointBalance": amount,
            "expireTime": now + int(_YEAR * 1000),
            "orderNo": f"SANDBOX{number}",
            "remark": "",
        }
        store.put(_KIND, str(number), {"account": account, "row": row})


def assets(
    emulator: Emulator, account: str, *, not_zero: bool, valid: bool
) -> list[dict[str, Any]]:
    """The rows of `/point/query`; times in ms since the epoch, balances in points."""
    now = time.time() * 1000
    return [
        asset["row"]
        for asset in emulator.store.all(_KIND)
        if asset["account"] == account
        and (not not_zero or asset["row"]["pointBalance"] > 0)
        and (not valid or asset["row"]["expireTime"] > now)
    ]


def balance(emulator: Emulator, account: str) -> float:
    """The points that can be spent now."""
    rows = assets(emulator, account, not_zero=True, valid=True)
    return float(sum(row["pointBalance"] for row in rows))


def price(switches: SwitchBoard, tier: str, seconds: float) -> float:
    """Points for a clip: each *started* unit counts."""
    units = max(1, math.ceil(seconds / switches["unit_seconds"] - 1e-9))
    return float(units * switches[f"points_{tier}"])


def charge(emulator: Emulator, account: str, amount: float) -> bool:
    """Take the points, oldest asset first; take none and return False when they do not suffice.

    Call it inside the transaction that ends the work.
    """
    if balance(emulator, account) < amount:
        return False
    now = int(time.time() * 1000)
    left = amount
    for key, asset in emulator.store.items(_KIND):
        row = asset["row"]
        if asset["account"] != account or row["expireTime"] <= now or left <= 0:
            continue
        taken = min(left, row["pointBalance"])
        left -= taken
        row.update(pointBalance=row["pointBalance"] - taken, lutime=now)
        emulator.store.put(_KIND, key, asset)
    return True
