"""The state of an in-memory service: a unit of work that fails leaves it as it was."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from prebook.testing.memory import MemoryDatabase


@dataclass(frozen=True)
class Ride:
    rider: str


@dataclass
class Seat:
    taken: bool = False


class Door:
    is_open = False


@dataclass
class Car:
    ride: Ride = field(default_factory=lambda: Ride("rosa"))
    seats: list[Seat] = field(default_factory=lambda: [Seat()])
    rides: dict[str, list[Ride]] = field(default_factory=lambda: {"today": [Ride("rosa")]})
    zones: set[str] = field(default_factory=lambda: {"centre"})
    trips: Counter[str] = field(default_factory=lambda: Counter(rosa=2))
    door: Door = field(default_factory=Door)

    def change(self) -> None:
        self.ride = Ride("ben")
        self.seats[0].taken = True
        self.rides["today"].append(Ride("ben"))
        self.zones.add("harbour")
        self.trips["rosa"] += 1
        self.door.is_open = True


async def fail_after_change(database: MemoryDatabase) -> None:
    async with database.begin() as work:
        work.change()
        raise ZeroDivisionError


async def test_a_unit_of_work_that_fails_changes_nothing() -> None:
    database = MemoryDatabase(Car())
    with pytest.raises(ZeroDivisionError):
        await fail_after_change(database)

    car = database.tables.state
    assert (car.ride, car.seats, car.rides) == (Ride("rosa"), [Seat()], {"today": [Ride("rosa")]})
    assert (car.zones, car.trips, car.door.is_open) == ({"centre"}, {"rosa": 2}, False)


async def test_a_unit_of_work_that_succeeds_changes_the_state() -> None:
    database = MemoryDatabase(Car())
    async with database.begin() as work:
        work.change()

    car = database.tables.state
    assert (car.seats, car.zones, car.trips, car.door.is_open) == (
        [Seat(taken=True)],
        {"centre", "harbour"},
        {"rosa": 3},
        True,
    )
