"""A company that keeps goods in warehouses and carries them in trucks, where sensors watch over them.

    world = World(seed=1, goods=200)
    hour = next(world)      readings of all sensors, goods that were moved or delivered, and rules that were violated

The same seed gives the same world, hour by hour, so that whoever has seen some of it can go on from there.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

__all__ = ["BEGIN", "RULES", "Hour", "Reading", "Violation", "Whereabouts", "World"]

BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
WAREHOUSES = 6
TRUCKS = 12
TRIPS_MAX = 6
LOAD_MAX = 6


class Rule(NamedTuple):
    """What a kind of goods needs."""

    metric: str
    low: float
    high: float


RULES = {
    "frozen": Rule("temperature", -40.0, -5.0),
    "chilled": Rule("temperature", 0.0, 8.0),
    "dry": Rule("humidity", 0.0, 60.0),
    "fragile": Rule("vibration", 0.0, 3.0),
}
#: What a sensor usually reads, and how far it strays.
CLIMATES = {"temperature": (4.0, 2.5), "humidity": (50.0, 6.0), "vibration": (1.0, 0.8)}


class Reading(msgspec.Struct):
    """What a sensor says."""

    place: str
    metric: str
    value: float
    at: datetime.datetime


class Whereabouts(msgspec.Struct):
    """Where goods are."""

    kind: str
    place: str
    since: datetime.datetime


class Violation(msgspec.Struct):
    """Goods that were not kept as they need it."""

    goods: str
    place: str
    metric: str
    value: float
    allowed: str
    at: datetime.datetime


class Hour(NamedTuple):
    """What happened in an hour."""

    number: int
    readings: list[Reading]
    moves: list[tuple[str, Whereabouts | None]]  # None: delivered, and no longer Kongo's
    violations: list[Violation]


class Goods(msgspec.Struct):
    """One piece."""

    name: str
    kind: str
    place: str
    trips: int = 0


class World(Iterator[Hour]):
    """Time goes on by `next`."""

    def __init__(self, seed: int, goods: int) -> None:
        self._random = random.Random(seed)
        self._warehouses = [f"warehouse-{number}" for number in range(WAREHOUSES)]
        self._trucks = [f"truck-{number}" for number in range(TRUCKS)]
        kinds = list(RULES)
        self._goods = [
            Goods(f"goods-{number:04d}", kinds[number % len(kinds)], self._random.choice(self._warehouses))
            for number in range(goods)
        ]
        self._number = 0

    def __next__(self) -> Hour:
        number, at = self._number, BEGIN + datetime.timedelta(hours=self._number)
        moved = [(one.name, Whereabouts(one.kind, one.place, at)) for one in self._goods] if number == 0 else []
        moves = moved or [*(self._load(at) if number % 2 else self._unload(at))]
        readings = [*self._read(at)]
        self._number += 1
        return Hour(number, readings, moves, [*self._violations(readings, at)])

    def _load(self, at: datetime.datetime) -> Iterator[tuple[str, Whereabouts | None]]:
        for truck in self._trucks:
            warehouse = self._random.choice(self._warehouses)
            there = [one for one in self._goods if one.place == warehouse]
            for one in self._random.sample(there, min(len(there), self._random.randint(0, LOAD_MAX))):
                one.place = truck
                yield one.name, Whereabouts(one.kind, truck, at)

    def _unload(self, at: datetime.datetime) -> Iterator[tuple[str, Whereabouts | None]]:
        for truck in self._trucks:
            warehouse = self._random.choice(self._warehouses)
            for one in [one for one in self._goods if one.place == truck]:
                one.trips += 1
                if one.trips >= TRIPS_MAX:
                    self._goods.remove(one)
                    yield one.name, None
                else:
                    one.place = warehouse
                    yield one.name, Whereabouts(one.kind, warehouse, at)

    def _read(self, at: datetime.datetime) -> Iterator[Reading]:
        for place in (*self._warehouses, *self._trucks):
            for metric, (usual, stray) in CLIMATES.items():
                if metric == "vibration" and place.startswith("warehouse"):
                    continue
                yield Reading(place, metric, round(self._random.gauss(usual, stray), 2), at)

    def _violations(self, readings: list[Reading], at: datetime.datetime) -> Iterator[Violation]:
        found = {(reading.place, reading.metric): reading.value for reading in readings}
        for one in self._goods:
            rule = RULES[one.kind]
            value = found.get((one.place, rule.metric))
            if one.kind == "frozen" and value is not None:
                value -= 20.0  # frozen goods have a box of their own
            if value is not None and not rule.low <= value <= rule.high:
                allowed = f"{rule.low:g} to {rule.high:g}"
                yield Violation(one.name, one.place, rule.metric, value, allowed, at)
