"""Seeded generator of hostile messages: valid ones of every kind with one defect, duplicates, and broken frames."""

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, PROCESSES, SERVICES
from prebook.messaging import addresses
from prebook.messaging.codec import EXPECTED_BODY_TYPES, WireMessage, encode
from prebook.messaging.envelope import Envelope, MessageKind, message_id, reply_id
from prebook.patterns.trace import TraceContext
from prebook.topology.values import MessageGrant, Topology
from tests.rabbit.body_defects import BODY_DEFECTS
from tests.rabbit.example_bodies import example_of
from tests.rabbit.field_defects import HEADER_DEFECTS, PROPERTY_DEFECTS, ROUTING_HEADERS, TABLE_DEFECTS
from tests.rabbit.raw_amqp import content_header, long_string, publish_frames, short, table, text

TOKEN_HEADER = "prebook-x-fuzz"
"""Header with the token of a message; its conversation id has the token too, unless it is a duplicate."""
TOKEN = r"fz[0-9a-z]+-[0-9]+z"
"""Form of a token, as a regular expression."""
ADMINISTRATOR = "administrator"
STRANGERS = (ADMINISTRATOR, addresses.ARCHIVE_READER)
DUPLICATED = 64
"""Valid messages that are remembered, to be sent once more."""
Header = tuple[bytes | str, bytes]


@dataclass
class Draft:
    """Message under construction: headers and properties are encoded AMQP fields."""

    headers: list[Header]
    properties: dict[str, bytes]
    body: bytes
    further_keys: tuple[str, ...] = ()
    """Routing keys that headers add."""


@dataclass(frozen=True)
class HostileMessage:
    """A message as it is sent, and what is needed to find what became of it."""

    token: str
    defect: str
    account: str
    """Account that publishes it."""
    frames: bytes
    queues: frozenset[str]
    """Addresses of the queues that it reaches if the broker takes it."""
    message_ids: frozenset[str]
    """Ids by which an inbox may know it, if it is handled: of a header that occurs twice, the broker may keep any."""
    is_complete: bool = True
    """Whether the broker can find its end."""
    may_expire: bool = False
    """Whether it is a request that has expired, or may expire in the parking queue: it is dropped without an effect."""


@dataclass(frozen=True)
class Way:
    """Account, address and valid kind of a message; ``user_id``: empty if the message does not name its account."""

    account: str
    exchange: str
    key: str
    kind: MessageKind
    flow: str
    user_id: str


@dataclass
class MessageFuzzer:
    """Generator of messages; equal seeds give equal messages, apart from their times."""

    topology: Topology
    run: str
    """Part of every token: letters and digits."""
    seed: int
    _sent: int = field(default=0, init=False)
    _valid: list[WireMessage] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._grants = sorted(grant for grant in self.topology.message_grants if grant.account in PROCESSES)
        self._queues = self.topology.consumed_queues()
        self._address_of: dict[str, str] = {queue.name: queue.address for queue in self._queues}
        # A copy in the parking queue would be taken for a dead letter of the queue that its routing key names.
        self._addresses = [queue.address for queue in self._queues if queue.address != addresses.PARKING_QUEUE]
        self._delay_exchanges = sorted(
            {g.exchange for g in self.topology.grants if g.exchange.startswith("prebook.delay.")}
        )
        self._kinds = sorted(EXPECTED_BODY_TYPES, key=str)

    def next_message(self) -> HostileMessage:
        """Return the next message."""
        self._sent += 1
        token = f"fz{self.run}-{self._sent}z"
        way = self._way()
        wire = self._wire(way, token)
        draft = Draft(
            [(TOKEN_HEADER, text(token)), *((name, text(value)) for name, value in wire.headers.items())],
            {"content_type": short("application/json"), "delivery_mode": b"\x02"},
            wire.body,
        )
        if way.user_id:
            draft.properties["user_id"] = short(way.user_id)
        defect = self._random.choices(DEFECTS, [weight for _, weight, _ in DEFECTS])[0]
        name = defect[2](self, draft, token) or defect[0]
        frames, is_complete = self._frames(way, draft, broken=defect[0] == "frame")
        headers = [(key, value) for key, value in draft.headers if isinstance(key, str)]
        readings = dict(headers), dict(reversed(headers))
        return HostileMessage(
            token=token,
            defect=name,
            account=way.account,
            frames=frames,
            queues=self._route(way.exchange, (way.key, *draft.further_keys)),
            message_ids=frozenset(_text_of(value) for key, value in headers if key == "ce-id"),
            is_complete=is_complete,
            may_expire=any(map(is_expired_request, readings))
            or (way.exchange == addresses.PARKING and "expiration" in draft.properties),
        )

    def _way(self) -> Way:
        """Choose who sends a message of which kind by which address."""
        choose = self._random.choice
        grant = choose(self._grants)
        kind, flow = grant.kind, grant.flow
        user = addresses.broker_user(grant.account)
        chance = self._random.random()
        if chance < 0.15:  # another kind of message than the address is for
            kind, flow = choose(self._kinds)
        elif chance < 0.22:
            user = ""
        elif chance < 0.25:  # the broker compares it with the account of the connection
            user = choose(("guest", "prebook_nobody", addresses.broker_user(choose(SERVICES))))
        elif chance < 0.29:  # an address of another account, or none
            return Way(
                choose(PROCESSES),
                choose((grant.exchange, "nowhere", "amq.topic", "")),
                grant.routing_key,
                kind,
                flow,
                "",
            )
        elif chance < 0.45:
            return self._way_of_stranger(grant)
        return self._granted_way(grant, kind, flow, user)

    def _way_of_stranger(self, grant: MessageGrant) -> Way:
        """The administrator publishes to a queue itself, to parking, or to an exchange of the services."""
        choose = self._random.choice
        queue = choose(self._queues)
        exchange, key = choose(
            (
                ("", queue.name),
                (addresses.PARKING, queue.address),
                (addresses.REDELIVER, queue.address),
                (grant.exchange, grant.routing_key),
                (addresses.EVENTS, "nothing.listens"),
                ("", addresses.ARCHIVE_QUEUE),
            )
        )
        return Way(choose((ADMINISTRATOR,) * 9 + STRANGERS), exchange, key, grant.kind, grant.flow, "")

    def _granted_way(self, grant: MessageGrant, kind: MessageKind, flow: str, user: str) -> Way:
        """A message of the receiver to itself goes through a delay queue: it may not publish to its queue."""
        is_own_retry = grant.exchange == addresses.REDELIVER and grant.account != "operations"
        exchange = self._random.choice(self._delay_exchanges) if is_own_retry else grant.exchange
        return Way(grant.account, exchange, grant.routing_key, kind, flow, user)

    def _wire(self, way: Way, token: str) -> WireMessage:
        """Return a valid message, in about one of twelve cases one that was sent before."""
        if self._valid and self._random.random() < 0.08:
            return self._random.choice(self._valid)
        choose = self._random.choice
        body_type = choose(sorted(EXPECTED_BODY_TYPES[way.kind, way.flow], key=str))
        own_id = message_id(token, way.flow)
        flow = FLOWS.get(way.flow)
        now = datetime.now(UTC)
        wire = encode(
            Envelope(
                id=reply_id(own_id) if way.kind is MessageKind.REPLY else own_id,
                kind=way.kind,
                flow=way.flow,
                body=example_of(body_type, self._random),
                source=choose(SERVICES),
                conversation_id=token,
                time=now,
                plan={name: choose(tuple(Coupling)) for name in FLOWS},
                reply_to=choose((flow.caller if flow else "", "", "nobody")),
                expires_at=choose((None, now + timedelta(minutes=5), now + timedelta(minutes=5))),
                attempt=choose((1, 1, 1, 2, 50)),
                trace=TraceContext().child(),
            )
        )
        self._valid = [*self._valid[-DUPLICATED:], wire]
        return wire

    def _route(self, exchange: str, keys: Sequence[str]) -> frozenset[str]:
        """Return the addresses of the queues behind an exchange; parking keeps the address that a key names."""
        if not exchange:
            return frozenset(self._address_of[key] for key in keys if key in self._address_of)
        if exchange == addresses.PARKING:
            return frozenset(keys[:1])
        if exchange in self._delay_exchanges:
            exchange = addresses.REDELIVER
        bound = {
            (binding.routing_key, binding.destination)
            for binding in self.topology.bindings
            if binding.exchange == exchange
        }
        known = set(self._address_of.values())
        return frozenset(to for key, to in bound if key in keys and to in known)

    def _frames(self, way: Way, draft: Draft, *, broken: bool) -> tuple[bytes, bool]:
        """Return the frames of a message, and whether the broker can find its end."""
        properties = draft.properties
        if "headers" not in properties and draft.headers:
            properties = {**properties, "headers": table(draft.headers)}
        header = content_header(draft.body, properties)
        whole = publish_frames(way.exchange, way.key, header, draft.body)
        return (_break(self._random, whole), False) if broken else (whole, True)

    def _keep_valid(self, _: Draft, __: str) -> str:
        return ""

    def _expire(self, draft: Draft, _: str) -> str:
        past = datetime.now(UTC) - timedelta(days=self._random.choice((0, 1, 10_000)), seconds=1)
        _set_header(draft, "prebook-expires-at", text(past.isoformat()))
        return ""

    def _spoil_header(self, draft: Draft, _: str) -> str:
        name, spoil = self._random.choice(HEADER_DEFECTS)
        spoil(self._random, draft.headers)
        return name

    def _spoil_property(self, draft: Draft, _: str) -> str:
        name, spoil = self._random.choice(PROPERTY_DEFECTS)
        spoil(self._random, draft.properties)
        return name

    def _spoil_body(self, draft: Draft, _: str) -> str:
        name, spoil = self._random.choice(BODY_DEFECTS)
        draft.body = spoil(self._random, draft.body)
        return name

    def _spoil_table(self, draft: Draft, token: str) -> str:
        name, spoil = self._random.choice(TABLE_DEFECTS)
        draft.properties["headers"] = spoil(self._random, table(draft.headers))
        draft.body = _body_with(token)
        return name

    def _drop_headers(self, draft: Draft, token: str) -> str:
        draft.headers = []
        draft.body = _body_with(token)
        return ""

    def _route_further(self, draft: Draft, _: str) -> str:
        """Add routing keys by a header; only a list of texts under the right name is one."""
        name, keys = self._random.choice(ROUTING_HEADERS)(self._random, self._addresses)
        draft.headers.append((name, keys[1]))
        draft.further_keys = tuple(keys[0])
        return f"routing header {name}"

    def _enlarge(self, draft: Draft, _: str) -> str:
        """Make the body or the headers as large as limits allow, or a little larger."""
        size = self._random.choice((131_071, 131_073, 262_144, 1_000_000, 1_048_576, 1_048_577))
        if self._random.random() < 0.5:
            draft.body = draft.body + b" " * (size - len(draft.body))
            return "body of much white space"
        draft.headers += [(f"pad-{number}", text("p" * 4096)) for number in range(self._random.choice((4, 30)))]
        return "many large headers"


def _body_with(token: str) -> bytes:
    return msgspec.json.encode({"fuzz": token})


def _set_header(draft: Draft, name: str, value: bytes) -> None:
    draft.headers = [(known, field) for known, field in draft.headers if known != name] + [(name, value)]


def _text_of(value: bytes) -> str:
    """Return the text of an encoded field; empty if it is no text."""
    return value[5:].decode(errors="replace") if value[:1] == b"S" else ""


def is_expired_request(sent: dict[str, bytes]) -> bool:
    """Return whether the encoded headers are those of a request whose time is over."""
    if _text_of(sent.get("prebook-kind", b"")) != MessageKind.REQUEST:
        return False
    expires_at = _time_of(sent.get("prebook-expires-at", b""))
    if expires_at is None:
        return False
    return (expires_at if expires_at.tzinfo else expires_at.replace(tzinfo=UTC)) <= datetime.now(UTC)


def _time_of(value: bytes) -> datetime | None:
    """Return the time of an encoded field, a text or a timestamp of AMQP; None if it is none."""
    try:
        if value[:1] == b"T":
            return datetime.fromtimestamp(int.from_bytes(value[1:], "big"), UTC)
        return datetime.fromisoformat(_text_of(value))
    except (ValueError, OverflowError, OSError):
        return None


def _break(source: random.Random, frames: bytes) -> bytes:
    """Return the frames of a message such that the broker cannot find its end."""
    cut = source.randrange(1, len(frames))
    choice = source.randrange(5)
    if choice == 0:
        return frames[:cut]
    if choice == 1:
        return frames[:-1] + b"\x00"
    if choice == 2:
        return struct.pack(">BHI", 7, 1, len(frames)) + frames + b"\xce"
    if choice == 3:
        return frames[:3] + long_string(b"")[:4] + frames[7:]
    return source.randbytes(min(cut, 400))


DEFECTS: Sequence[tuple[str, int, Callable[[MessageFuzzer, Draft, str], str]]] = (
    ("valid", 10, MessageFuzzer._keep_valid),
    ("expired", 4, MessageFuzzer._expire),
    ("header", 28, MessageFuzzer._spoil_header),
    ("property", 16, MessageFuzzer._spoil_property),
    ("body", 26, MessageFuzzer._spoil_body),
    ("table", 5, MessageFuzzer._spoil_table),
    ("no headers", 3, MessageFuzzer._drop_headers),
    ("routing header", 4, MessageFuzzer._route_further),
    ("large", 1, MessageFuzzer._enlarge),
    ("frame", 3, MessageFuzzer._keep_valid),
)
"""Name, weight and function of each kind of defect; the function may return a more exact name."""
