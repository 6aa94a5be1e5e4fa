"""Reading a conversation: which one a reference leads to, who is asked, and what is missing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

import httpx
import msgspec
import pytest

from prebook.contracts.booking import ClockFigures, LedgerClocks, PlanClocks
from prebook.contracts.conversations import ConversationList, ConversationRecords, ConversationSummary, ParkedRecords
from prebook.control_room.app import PageAddress, create_control_room
from prebook.control_room.conversation_routes import conversation_routes
from prebook.control_room.conversations import ConversationReader
from prebook.control_room.server import serve_page
from prebook.control_room.sessions import Sessions
from prebook.devstack.ports import LOOPBACK, allocate_ports
from prebook.devstack.supervisor.control_api import token_digest
from prebook.flows import CONSOLE, PROCESSES
from prebook.patterns.call_signature import CALLER_HEADER
from prebook.testing.configuration import signing_secret_of
from tests.control_room.conversation_records import TRACE_ID, parked, received, records, sent, summary

URLS = {name: f"http://{name}.test" for name in (*PROCESSES, "pricing-2")}
CLOCKS = LedgerClocks(
    window_s=600,
    plans=(PlanClocks(couplings=summary().couplings, settled=ClockFigures(count=3, p50_ms=60, p99_ms=90)),),
)


class ServicesStub:
    """The services as one HTTP transport. ``away``: processes that cannot be reached."""

    def __init__(self, *known: ConversationSummary, records: dict[str, ConversationRecords] | None = None) -> None:
        self.known = {"bk_1": known[:1], "key/1": known, "key.quote_fare": known[:1]} if known else {}
        self.records = records or {}
        self.parked = ParkedRecords(parked=())
        self.away: set[str] = set()
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        process = request.url.host.removesuffix(".test")
        if process in self.away:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, content=msgspec.json.encode(self._answer(process, request)))

    def _answer(self, process: str, request: httpx.Request) -> msgspec.Struct:
        match request.url.path:
            case "/v1/conversations":
                (reference,) = parse_qs(request.url.query.decode())["reference"]
                return ConversationList(conversations=tuple(self.known.get(reference, ())))
            case "/v1/ledger/clocks":
                return CLOCKS
            case "/v1/dead-letters/conversations/bk_1":
                return self.parked
            case "/v1/conversations/bk_1":
                return self.records.get(process, records(process.partition("-")[0]))
            case path:
                raise AssertionError(path)


@asynccontextmanager
async def open_browser(services: ServicesStub) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the control room over the stub, and yield a client with a session."""
    (port,) = allocate_ports(1)
    address = PageAddress(f"http://{LOOPBACK}:{port}", port)
    sessions = Sessions()
    client = httpx.AsyncClient(transport=httpx.MockTransport(services))
    reader = ConversationReader(client, URLS, lambda: (signing_secret_of(CONSOLE),))
    app = create_control_room(address, sessions, token_digest("token"), conversation_routes(reader))
    async with (
        serve_page(app, LOOPBACK, port),
        httpx.AsyncClient(base_url=address.base_url, headers={"origin": address.base_url}, trust_env=False) as browser,
    ):
        await browser.get(address.with_token(sessions.issue_token()))
        yield browser


@pytest.mark.parametrize(
    "reference", ["bk_1", "bk_1.quote_fare.reply", "bk_1.ask_fleet.ada", "key%2F1", "key/1", "key.quote_fare"]
)
async def test_a_conversation_is_found_by_booking_key_or_message(reference: str) -> None:
    async with open_browser(ServicesStub(summary())) as browser:
        response = await browser.get(f"/v1/conversations/{reference}")
    assert response.status_code == 200, response.text
    timeline = response.json()
    assert (timeline["id"], timeline["plan"], timeline["state"]) == ("bk_1", "request_reply", "confirmed")
    assert (timeline["settled_at"], timeline["notified_at"]) == (
        "2026-12-01T12:00:00.060000Z",
        "2026-12-01T12:00:00.090000Z",
    )


async def test_every_process_is_asked_with_the_consoles_signature() -> None:
    services = ServicesStub(
        summary(),
        records={
            "booking": records("booking", sent=(sent("quote_fare", 0, 10),)),
            "pricing": records("pricing", received=(received("quote_fare", 12, 18),)),
        },
    )
    async with open_browser(services) as browser:
        timeline = (await browser.get("/v1/conversations/bk_1")).json()
    asked = [request.url.host for request in services.requests if request.url.path == "/v1/conversations/bk_1"]
    assert sorted(asked) == sorted(f"{name}.test" for name in URLS)
    assert {request.headers[CALLER_HEADER] for request in services.requests} == {"console"}
    assert (timeline["lanes"], timeline["trace_ids"]) == (["booking", "pricing"], [TRACE_ID])
    assert [each["message_id"] for each in timeline["messages"]] == ["bk_1.quote_fare"]
    assert (timeline["is_complete"], timeline["missing"]) == (True, {})
    assert timeline["plans"][0]["settled"] == {"count": 3, "p50_ms": 60.0, "p99_ms": 90.0}


async def test_a_dead_letter_is_part_of_the_answer() -> None:
    services = ServicesStub(summary(), records={"booking": records("booking", sent=(sent("quote_fare", 0, 10),))})
    services.parked = ParkedRecords(parked=(parked("quote_fare", "pricing.requests.quote_fare", 500),))
    async with open_browser(services) as browser:
        (message,) = (await browser.get("/v1/conversations/bk_1")).json()["messages"]
    assert (message["state"], message["attempts"][0]["stage"]) == ("parked", "dead_lettered")


async def test_processes_that_do_not_answer_are_named() -> None:
    services = ServicesStub(summary())
    services.away = {"pricing-2", "operations"}
    async with open_browser(services) as browser:
        timeline = (await browser.get("/v1/conversations/bk_1")).json()
    assert (timeline["is_complete"], sorted(timeline["missing"])) == (False, ["operations", "pricing-2"])


async def test_an_answer_that_was_cut_says_so() -> None:
    services = ServicesStub(summary(), records={"booking": records("booking", is_complete=False)})
    async with open_browser(services) as browser:
        timeline = (await browser.get("/v1/conversations/bk_1")).json()
    assert (timeline["is_complete"], timeline["missing"]) == (False, {})


async def test_references_that_lead_nowhere_are_refused_with_a_remedy() -> None:
    services = ServicesStub(summary())
    async with open_browser(services) as browser:
        unknown = await browser.get("/v1/conversations/bk_2")
        refused = [await browser.get(f"/v1/conversations/{text}") for text in ("a%20b", "%C3%A4", "a%0Ab", "x" * 256)]
        services.away = {"booking"}
        away = await browser.get("/v1/conversations/bk_1")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "no_such_conversation")
    assert "bk_2" in unknown.json()["detail"]
    assert "Idempotency-Key" in unknown.json()["detail"]
    assert {response.json()["code"] for response in refused} == {"no_such_conversation"}
    assert (away.status_code, away.json()["code"]) == (502, "booking_unreachable")


async def test_a_key_of_several_riders_lists_what_to_choose_from() -> None:
    async with open_browser(ServicesStub(summary(), summary(id="bk_9"))) as browser:
        response = await browser.get("/v1/conversations/key/1")
    assert (response.status_code, response.json()["code"]) == (409, "ambiguous_reference")
    assert "bk_1, bk_9" in response.json()["detail"]


async def test_an_open_ride_has_no_outcome_yet() -> None:
    history = summary().history[:2]
    async with open_browser(ServicesStub(summary(history=history, notified_at=None))) as browser:
        timeline = (await browser.get("/v1/conversations/bk_1")).json()
    assert (timeline["state"], timeline["settled_at"], timeline["notified_at"]) == ("priced", None, None)
    assert timeline["requested_at"] == "2026-12-01T12:00:00Z"
