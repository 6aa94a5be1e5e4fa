"""Model of the suite's coupling for tests, and types of a made-up party."""

from dataclasses import replace
from pathlib import Path

import msgspec

from prebook.cli.coupling.command import read_coupling_model
from prebook.contracts.plan import Coupling, Plan
from prebook.contracts.pricing import FareQuoted
from prebook.contracts.ride import Money
from prebook.flows import BOOKING_CONFIRMED, FLOWS
from prebook.topology.coupling_model import CouplingModel
from prebook.topology.external_edges import Contact, Control, ExternalEdge, Party

COUPLINGS_FILE = Path(__file__).parents[2] / "deploy" / "couplings.toml"
SUITE = read_coupling_model(None, COUPLINGS_FILE)
SMS_PROVIDER = Party("sms provider", Control.LOW, "another company")


class ShortText(msgspec.Struct):
    """Format of the party."""

    text: str
    price: Money


class CopiedQuote(msgspec.Struct):
    """Format of the party with a message of the suite inside."""

    quotes: dict[str, tuple[FareQuoted, ...]]


def short_text(quote: FareQuoted) -> ShortText:
    return ShortText(str(quote), quote.fare)


def copied_quote(quote: FareQuoted) -> CopiedQuote:
    return CopiedQuote({"all": (quote,)})


def passed_on(quote: FareQuoted) -> FareQuoted:
    return quote


def untyped(quote: FareQuoted):  # type: ignore[no-untyped-def]  # noqa: ANN201 - this is the example
    return str(quote)


LOOSE_EDGE = ExternalEdge(
    name="sms",
    near="notification",
    party=SMS_PROVIDER,
    contact=Contact.CALLED,
    trigger=BOOKING_CONFIRMED,
    sends=(short_text,),
    max_wait_s=5.0,
)
"""Edge to a party of low control that breaks no rule."""


def plan_of(**couplings: Coupling) -> Plan:
    """Return a plan of messages, with other ``couplings`` for the flows named."""
    return {**dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY), **couplings}


def suite_with(*edges: ExternalEdge) -> CouplingModel:
    """Return the model of the suite with further edges."""
    return replace(SUITE, external_edges=(*SUITE.external_edges, *edges))
