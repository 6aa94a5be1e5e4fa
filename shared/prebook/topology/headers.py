"""JSON Schema of the headers that every message carries: CloudEvents 1.0 in binary mode, and our own."""

from typing import Any

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.codec import SAFE_ID, SLOT
from prebook.messaging.envelope import Kind
from prebook.patterns.groups import SLOTS

_ID = {"type": "string", "pattern": "^" + SAFE_ID.pattern.removesuffix(r"\Z") + "$"}
_TIME = {"type": "string", "format": "date-time"}
_PLAN = ",".join(f"{flow}=({'|'.join(coupling.value for coupling in Coupling)})" for flow in FLOWS)

HEADERS: dict[str, Any] = {
    "type": "object",
    "required": [
        "ce-specversion",
        "ce-id",
        "ce-type",
        "ce-source",
        "ce-subject",
        "ce-time",
        "prebook-kind",
        "prebook-flow",
        "prebook-plan",
    ],
    "properties": {
        "ce-specversion": {"const": "1.0"},
        "ce-id": {**_ID, "description": "The same thing said twice has the same id; receivers let one take effect."},
        "ce-type": {"type": "string", "pattern": r"^prebook\.[a-z_]+\.v[0-9]+$"},
        "ce-source": {"type": "string", "description": "The service that says it.", "pattern": "^/prebook/[a-z]+$"},
        "ce-subject": {**_ID, "description": "The conversation: the booking that it is about."},
        "ce-time": _TIME,
        "ce-partitionkey": {**_ID, "description": "Messages of one key keep their order."},
        SLOT: {
            "type": "string",
            "pattern": "^[0-9]{1,2}$",
            "description": f"crc32(ce-partitionkey) modulo {SLOTS}: what message groups are partitioned by.",
        },
        "prebook-kind": {"enum": [kind.value for kind in Kind]},
        "prebook-flow": {"type": "string", "description": "The flow; for a fact, the announcement."},
        "prebook-plan": {"type": "string", "pattern": f"^{_PLAN}$", "description": "The booking's coupling per flow."},
        "prebook-attempt": {"type": "string", "pattern": "^[0-9]{1,5}$", "description": "From 1."},
        "prebook-reply-to": {"type": "string", "description": "Where the answer goes; commands alone have it."},
        "prebook-expires-at": {**_TIME, "description": "After this nobody waits for it."},
        "traceparent": {"type": "string", "description": "W3C Trace Context."},
    },
}
