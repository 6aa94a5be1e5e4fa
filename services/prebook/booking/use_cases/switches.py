"""Switches: settings of booking that operators change while it runs.

They are rows of booking's schema, so that all replicas have them, and a restart keeps them. Each replica reads them
again every REFRESH_INTERVAL_S.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime

import structlog

from prebook.booking.store import BookingWork, SwitchPosition
from prebook.contracts.back_pressure import BackPressure
from prebook.contracts.default_plan import DefaultPlan, FlowDefault
from prebook.contracts.plan import Coupling, Plan
from prebook.messaging.unit_of_work import BeginUnitOfWork, UnitsOfWork

REFRESH_INTERVAL_S = 0.5
COUPLING_PREFIX = "coupling."
BACK_PRESSURE = "back_pressure"
POSITIONS = {"on": True, "off": False}
log = structlog.get_logger()


class Switches:
    """Positions of all switches, as this replica has read them last."""

    def __init__(self, units: UnitsOfWork[BookingWork], configured_plan: Plan, *, back_pressure: bool = True) -> None:
        """``configured_plan`` and ``back_pressure`` hold where no operator has set the switch."""
        self._units = units
        self._configured_plan = configured_plan
        self._positions: Mapping[str, SwitchPosition] | None = None
        self._plan = configured_plan
        self._configured_back_pressure = back_pressure
        self.back_pressure = back_pressure
        """Whether rides are refused under overload."""
        self._reading = asyncio.Lock()

    async def default_plan(self) -> Plan:
        """Return the plan of a booking that chooses no couplings. Only the first call waits for the database."""
        if self._positions is None:
            await self._read(self._units.commands)
        return self._plan

    async def describe_default_plan(self) -> DefaultPlan:
        """Read the default plan anew, with the configured couplings and the times of changes."""
        positions = await self._read(self._units.commands)
        return DefaultPlan(
            flows={
                flow: FlowDefault(
                    coupling=self._plan[flow], configured=configured, changed_at=_changed_at(positions, flow)
                )
                for flow, configured in self._configured_plan.items()
            }
        )

    async def change_default_plan(self, couplings: Mapping[str, Coupling | None]) -> None:
        """Set the couplings of flows for bookings that begin from now on; None: the configured one again.

        This replica uses them at once, the others within REFRESH_INTERVAL_S.
        """
        values = {COUPLING_PREFIX + flow: coupling and coupling.value for flow, coupling in couplings.items()}
        async with self._units.commands() as work:
            await work.set_switches(values)
        await self._read(self._units.commands)
        log.info("default plan changed", **{flow: coupling or "configured" for flow, coupling in couplings.items()})

    async def describe_back_pressure(self) -> BackPressure:
        """Read anew whether rides are refused under overload, with the configured value and the time of the change."""
        position = (await self._read(self._units.commands)).get(BACK_PRESSURE)
        return BackPressure(
            enabled=self.back_pressure,
            configured=self._configured_back_pressure,
            changed_at=position.changed_at if position and position.value in POSITIONS else None,
        )

    async def switch_back_pressure(self, *, enabled: bool | None) -> None:
        """Refuse rides under overload from now on, or refuse none; None: as configured again."""
        value = None if enabled is None else next(name for name, meaning in POSITIONS.items() if meaning is enabled)
        async with self._units.commands() as work:
            await work.set_switches({BACK_PRESSURE: value})
        await self._read(self._units.commands)
        log.info("back pressure switched", position=value or "configured")

    async def refresh(self) -> None:
        """Read all switches again."""
        await self._read(self._units.background)

    async def _read(self, begin: BeginUnitOfWork[BookingWork]) -> Mapping[str, SwitchPosition]:
        async with self._reading, begin() as work:  # one at a time: a slow read must not undo a newer one
            self._positions = await work.read_switches()
            self._plan = {
                flow: _coupling(self._positions, flow) or configured
                for flow, configured in self._configured_plan.items()
            }
            position = self._positions.get(BACK_PRESSURE)
            self.back_pressure = POSITIONS.get(position.value if position else "", self._configured_back_pressure)
            return self._positions


def _coupling(positions: Mapping[str, SwitchPosition], flow: str) -> Coupling | None:
    """Return the coupling that an operator has set; None if there is none, or another version of the suite set it."""
    position = positions.get(COUPLING_PREFIX + flow)
    return Coupling(position.value) if position and position.value in list(Coupling) else None


def _changed_at(positions: Mapping[str, SwitchPosition], flow: str) -> datetime | None:
    return positions[COUPLING_PREFIX + flow].changed_at if _coupling(positions, flow) else None
