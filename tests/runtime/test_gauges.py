"""Gauges of a service process."""

from prebook.contracts.plan import Coupling
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.coupling.sync_api import SyncApi
from prebook.messaging.errors import Unreachable
from prebook.runtime.gauges import provider_circuit_states
from prebook.testing.configuration import make_policies
from tests.coupling.test_sync_api import ScriptedHttp
from tests.messaging.examples import request


async def test_an_open_circuit_is_reported_for_its_provider() -> None:
    sync = SyncApi(ScriptedHttp(Unreachable("down")), make_policies(), ReplyWaiters())
    read_states = provider_circuit_states("booking", {Coupling.SYNC_API: sync})
    assert read_states() == {"matching": False, "notification": False, "pricing": False}
    for _ in range(5):
        try:
            await sync.send(request())
        except Unreachable:
            continue
    assert read_states() == {"matching": False, "notification": True, "pricing": False}
