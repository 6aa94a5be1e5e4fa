"""Statements with right and wrong references to services, flows, exchanges, queues and parties, for a type check."""

import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from prebook.devstack.errors import UserError
from prebook.lab.experiments.experiment import Prerequisite
from prebook.lab.experiments.model.commands import CHECKOUT, run_python

HEADER = """\
from typing import Any

from prebook.contracts.fleets import AskFleet
from prebook.contracts.matching import DriverMatched
from prebook.contracts.plan import Coupling, Plan
from prebook.contracts.pricing import FareQuoted, FareReply, QuoteFare
from prebook.contracts.events import BookingConfirmed, BookingEnded
from prebook.flows import *
from prebook.messaging import addresses
from prebook.messaging.handlers import Handlers, HandlerSpec
from prebook.topology.external_edges import *
from prebook.topology.values import *

def example(spec: HandlerSpec[Any], ask: AskFleet, quote: QuoteFare, ended: BookingEnded) -> None:
    queue = addresses.request_queue(PRICING, "quote_fare")
"""
RIGHT = (
    'Flow("again", BOOKING, PRICING, QuoteFare, (FareQuoted,))',
    'EventType("again", BOOKING, BookingConfirmed, frozenset({PRICING}))',
    'Lookup("again", PRICING, NOTIFICATION)',
    "QUOTE_FARE.new_request(quote)",
    "BOOKING_ENDED.new_event(ended)",
    "handlers: Handlers[Any] = Handlers(on_request={QUOTE_FARE: spec}, on_event={BOOKING_ENDED: spec})",
    'plan: Plan = {"quote_fare": Coupling.SYNC_API}',
    'Binding(addresses.EVENTS, "key", queue)',
    'Grant("booking", addresses.REQUESTS, "key")',
    "Exchange(addresses.exchange_before(queue))",
    'party = Party("x", Control.LOW, "example")',
    'ExternalEdge(name="x", near=FLEETS, party=RIDERS, contact=Contact.CALLED, trigger=ASK_FLEET)',
)
"""Statements without an error, which shows that the errors of the others are theirs alone."""
WRONG: Mapping[str, tuple[str, str]] = {
    "misspelt service": ('Flow("x", BOOKNG, PRICING, QuoteFare, (FareQuoted,))', 'Name "BOOKNG" is not defined'),
    "text as caller": ('Flow("x", "booking", PRICING, QuoteFare, (FareQuoted,))', 'expected "ServiceName"'),
    "queue as provider": ('Flow("x", BOOKING, queue, QuoteFare, (FareQuoted,))', 'expected "ServiceName"'),
    "no message as request": ('Flow("x", BOOKING, PRICING, str, (FareQuoted,))', "cannot be"),
    "reply of another flow": (
        'again: Flow[QuoteFare, FareReply] = Flow("x", BOOKING, PRICING, QuoteFare, (DriverMatched,))',
        'incompatible type "tuple[type[DriverMatched]]"',
    ),
    "text as subscriber": (
        'EventType("x", BOOKING, BookingConfirmed, frozenset({"pricing"}))',
        'expected "ServiceName"',
    ),
    "text as owner of data": ('Lookup("x", PRICING, "notifications")', 'expected "ServiceName"'),
    "request of another flow": ("QUOTE_FARE.new_request(ask)", 'expected "QuoteFare"'),
    "body of another event": ("BOOKING_CONFIRMED.new_event(ended)", 'expected "BookingConfirmed"'),
    "handler of a name": ('Handlers[Any](on_request={"quote_fare": spec})', 'expected "Flow[Any, Any]"'),
    "handler of an event as request": ("Handlers[Any](on_request={BOOKING_ENDED: spec})", 'expected "Flow[Any, Any]"'),
    "misspelt coupling": ('misspelt: Plan = {"quote_fare": Coupling.SYNC}', 'has no attribute "SYNC"'),
    "text as coupling": ('text: Plan = {"quote_fare": "sync_api"}', 'expected "str": "Coupling"'),
    "misspelt exchange": ('Grant("booking", addresses.EVENT, "key")', 'has no attribute "EVENT"'),
    "text as exchange": ('Binding("prebook.evnets", "key", queue)', 'expected "ExchangeName"'),
    "queue as exchange": ('Grant("booking", queue, "key")', 'expected "ExchangeName"'),
    "exchange as queue": ("Queue(addresses.EVENTS)", 'expected "QueueName"'),
    "text as destination": (
        'Binding(addresses.EVENTS, "key", "pricing.x")',
        'expected "ExchangeName | QueueName"',
    ),
    "exchange that is read": ('ReadGrant("booking", addresses.EVENTS)', 'expected "QueueName"'),
    "text as level of control": ('Party("x", "low", "example")', 'expected "Control"'),
    "text as party": (
        'ExternalEdge(name="x", near=FLEETS, party="riders", contact=Contact.CALLED)',
        'expected "Party"',
    ),
    "name of a flow as trigger": (
        'ExternalEdge(name="x", near=FLEETS, party=RIDERS, contact=Contact.CALLED, trigger="ask_fleet")',
        'expected "Flow[Any, Any] | EventType[Any] | None"',
    ),
}


def _missing_mypy(_: object) -> str:
    return "" if importlib.util.find_spec("mypy") else "install the tools of `make check`: make install"


TYPE_CHECKER = Prerequisite("mypy", _missing_mypy)


async def type_errors(folder: Path, statements: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Return the messages of mypy by the statement that has them, from one run on a module in ``folder``.

    Raises UserError if mypy did not run.
    """
    module = folder / "wrong_references.py"
    module.write_text(HEADER + "".join(f"    {statement}\n" for statement in statements))
    options = ("--config-file", str(CHECKOUT / "pyproject.toml"), "--no-color-output", "--no-error-summary")
    done = await run_python("-m", "mypy", *options, str(module), folder=CHECKOUT)
    if done.stderr:
        raise UserError(f"mypy: {done.stderr}", "run `make check`")
    lines = module.read_text().splitlines()
    found: dict[str, list[str]] = defaultdict(list)
    for number, message in re.findall(rf"{module.name}:(\d+): error: (.*)", done.stdout):
        found[lines[int(number) - 1].strip()].append(message)
    return found
