"""The price lists of the providers, with date and source; an estimate is no invoice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of one provider.

    Attributes:
        as_of: day on which the source was read.
        source: place of the prices without a scheme, because no report holds a link; or the reason
            why there is none.
        unit: of ``prices``.
        prices: the highest price of each model or tier, for an account without discount.
        discounted: the lowest price of each, for the largest plan.
    """

    as_of: date
    source: str
    unit: str
    prices: Mapping[str, Decimal]
    discounted: Mapping[str, Decimal]

    def range_of(self, name: str) -> tuple[Decimal, Decimal]:
        """The lowest and the highest price; an unknown name counts as the dearest one."""
        high = self.prices.get(name, max(self.prices.values()))
        return self.discounted.get(name, high), high


_FRAME: Final = MappingProxyType(
    {
        "sync-3": Decimal("0.00534"),
        "lipsync-2-pro": Decimal("0.00333"),
        "lipsync-2": Decimal("0.002"),
        "lipsync-1.9.0-beta": Decimal("0.001"),
        "react-1": Decimal("0.00667"),
    }
)
_SCALE_DISCOUNT: Final = Decimal("0.8")

SYNC_SO: Final = PriceList(
    as_of=date(2026, 11, 27),
    source="sync.so/docs/product/billing",
    unit="USD for each frame of the output",
    prices=_FRAME,
    discounted=MappingProxyType({name: price * _SCALE_DISCOUNT for name, price in _FRAME.items()}),
)

BILLED_FPS: Final = 25.0
"""Frames per second that two older pages of Sync.so bill; the newest page bills those of the
output."""

GHOSTCUT: Final = PriceList(
    as_of=date(2026, 5, 31),
    source="tables of third parties; GhostCut publishes no price",
    unit="points for each started 30 s",
    prices=MappingProxyType(
        {
            "basic": Decimal(1),
            "lite": Decimal(4),
            "pro": Decimal(6),
            "pro_large": Decimal(6),
            "pro_full": Decimal(6),
        }
    ),
    discounted=MappingProxyType(
        {
            "basic": Decimal(1),
            "lite": Decimal("1.5"),
            "pro": Decimal(3),
            "pro_large": Decimal(3),
            "pro_full": Decimal(3),
        }
    ),
)

POINT_SECONDS: Final = 30.0
"""Length of the unit that GhostCut bills, seconds; a started one counts whole."""

USD_PER_POINT: Final = Decimal("0.027")
"""About 0.19 CNY a point (1000 points for 189 CNY), at 7 CNY for a dollar. Rough."""
