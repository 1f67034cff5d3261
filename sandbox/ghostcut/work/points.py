"""The account's points: assets with a balance, prices, and charging.

Source: vendor docs, "point query"; the billing unit and the prices are third-party figures and
therefore switches (see the README).
"""

import math
import time
from typing import Any

from sandbox.common.store import Store
from sandbox.ghostcut.switches import Switches

_KIND = "asset"
_YEAR = 365 * 86400.0


class Points:
    """Assets of all accounts. Call `charge` inside the transaction that ends the work."""

    def __init__(self, store: Store, switches: Switches) -> None:
        self._store = store
        self._switches = switches

    def seed(self, account: str, amount: float) -> None:
        """Give an account its first asset, unless it ever had one."""
        if self._store.counter(f"assets of {account}", 0) == 0:
            self.set(account, amount)

    def set(self, account: str, amount: float) -> None:
        """Replace what the account has by one asset of `amount` points that expires in a year."""
        with self._store.transaction():
            for key, asset in self._store.items(_KIND):
                if asset["account"] == account:
                    self._store.delete(_KIND, key)
            self._store.counter(f"assets of {account}")
            number = 3100000 + self._store.counter("asset")
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
            self._store.put(_KIND, str(number), {"account": account, "row": row})

    def assets(self, account: str, *, not_zero: bool, valid: bool) -> list[dict[str, Any]]:
        """The rows of `/point/query`; times in ms since the epoch, balances in points."""
        now = time.time() * 1000
        rows = [asset["row"] for asset in self._store.all(_KIND) if asset["account"] == account]
        if not_zero:
            rows = [row for row in rows if row["pointBalance"] > 0]
        if valid:
            rows = [row for row in rows if row["expireTime"] > now]
        return rows

    def balance(self, account: str) -> float:
        """Points that can be spent now."""
        rows = self.assets(account, not_zero=True, valid=True)
        return float(sum(row["pointBalance"] for row in rows))

    def price(self, tier: str, seconds: float) -> float:
        """Points for a clip: each *started* unit counts."""
        units = max(1, math.ceil(seconds / self._switches.unit_seconds - 1e-9))
        rates = {
            "basic": self._switches.points_basic,
            "lite": self._switches.points_lite,
            "pro": self._switches.points_pro,
        }
        return float(units * rates[tier])

    def charge(self, account: str, amount: float) -> bool:
        """Take the points, oldest asset first; False (and nothing taken) when they do not reach."""
        if self.balance(account) < amount:
            return False
        now = int(time.time() * 1000)
        left = amount
        for key, asset in self._store.items(_KIND):
            row = asset["row"]
            if asset["account"] != account or row["expireTime"] <= now or left <= 0:
                continue
            taken = min(left, row["pointBalance"])
            left -= taken
            row.update(pointBalance=row["pointBalance"] - taken, lutime=now)
            self._store.put(_KIND, key, asset)
        return True
