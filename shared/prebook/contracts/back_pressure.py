"""Back pressure of booking: whether it refuses rides that it could not settle in time. Operators switch it."""

from datetime import datetime

import msgspec


class BackPressure(msgspec.Struct, frozen=True, kw_only=True):
    """Whether rides are refused under overload."""

    enabled: bool
    configured: bool
    """Value of PREBOOK_BACK_PRESSURE, which holds unless an operator has switched it."""
    changed_at: datetime | None = None
    """Time of the operator's choice; null if the configured value holds."""


class BackPressureChange(msgspec.Struct, frozen=True, kw_only=True):
    """Back pressure from now on; null: the configured value again."""

    enabled: bool | None
