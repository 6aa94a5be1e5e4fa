"""Settings by which tests and the lab make a process fail."""

from typing import Annotated

import msgspec


class FaultSettings(msgspec.Struct, kw_only=True):
    """Faults of one process, by default none. Only its environment sets them: no message and no request can.

    The other settings of a process extend these, because a struct of msgspec has one base.
    """

    clock_skew_s: Annotated[
        float, msgspec.Meta(ge=-86_400, le=86_400, description="seconds that this process's clock is ahead; for tests")
    ] = 0.0
    crash_dir: Annotated[
        str,
        msgspec.Meta(description="folder in which a file ends the process at a crash point; for tests, empty: none"),
    ] = ""
    crash_message_id: Annotated[
        str,
        msgspec.Meta(
            pattern="^[!-~]{0,255}$",
            description="id of the message at whose receipt the process ends, each time; for tests, empty: none",
        ),
    ] = ""
