"""Orders, as maps, about 146 bytes each as JSON.

    {"sequence": 7, "customer": "c-04711", "product": "p-0042", "quantity": 3, "price": 129.95, ...}

Used by: bodies.py.
Not here: other values.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from engine.api.schema import Schema

__all__ = ["Orders"]

CYCLE = 4096
CUSTOMERS = 10_000
PRODUCTS = 500
CENTS_MAX = 50_000
QUANTITY_MAX = 9
CURRENCIES = ("EUR", "USD", "GBP", "JPY")
STATUSES = ("new", "paid", "packed", "shipped")
CITIES = ("Lisbon", "Bergen", "Kyoto", "Quito", "Cork", "Turin", "Lagos", "Hue")


class Orders:
    """Orders from a cycle of bodies, each with its own number."""

    schema: Schema | None = None

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self._cycle = [_body(rng) for _ in range(CYCLE)]

    def values(self, numbers: range, stamp_us: int | None) -> Sequence[Any]:
        cycle = self._cycle
        orders = []
        for number in numbers:
            order = cycle[number % CYCLE].copy()
            order["sequence"] = number
            orders.append(order)
        if stamp_us is not None:
            for order in orders:
                order["stamp"] = stamp_us
        return orders


def _body(rng: random.Random) -> dict[str, Any]:
    return {
        "sequence": 0,
        "customer": f"c-{rng.randrange(CUSTOMERS):05d}",
        "product": f"p-{rng.randrange(PRODUCTS):04d}",
        "quantity": 1 + rng.randrange(QUANTITY_MAX),
        "price": rng.randrange(100, CENTS_MAX) / 100,
        "currency": rng.choice(CURRENCIES),
        "status": rng.choice(STATUSES),
        "city": rng.choice(CITIES),
        "gift": rng.random() < 0.1,
    }
