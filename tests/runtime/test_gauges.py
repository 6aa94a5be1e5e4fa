"""What is read off a process for its metrics."""

from prebook.contracts.plan import Coupling
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.coupling.sync_api import SyncApi
from prebook.messaging.errors import Unreachable
from prebook.runtime.gauges import provider_circuit_states
from tests.coupling.test_sync_api import Scripted
from tests.messaging.examples import request
from tests.world import policies


async def test_an_open_circuit_is_told_by_the_service_that_it_leads_to() -> None:
    sync = SyncApi(Scripted(Unreachable("down")), policies(), ReplyWaiters())
    told = provider_circuit_states("booking", {Coupling.SYNC_API: sync})
    assert told() == {"matching": False, "notification": False, "pricing": False}
    for _ in range(5):
        try:
            await sync.send(request())
        except Unreachable:
            continue
    assert told() == {"matching": False, "notification": True, "pricing": False}
