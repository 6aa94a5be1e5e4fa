"""Trace context: received headers, the next span, and what is propagated."""

import pytest

from prebook.patterns.trace import TraceContext, derive_span_id, is_sampled, span_id, trace_id

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
VALID = f"00-{TRACE}-{PARENT}-01"
STATE = "rojo=00f067aa0ba902b7,congo@vendor=t61rcWkgMzE"


@pytest.mark.parametrize(
    "invalid",
    [
        "",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        VALID.upper(),
        VALID[:-1],
        VALID + "0",
        f"{VALID}-extra",
        f"{VALID}, {VALID}",
        f"cc-{TRACE}-{PARENT}-01-later, {VALID}",
        f"cc-{TRACE}-{PARENT}-01later",
        f"00-{TRACE}-{PARENT}-0g",
        VALID + "\n",
        "\u0660" + VALID[1:],
    ],
)
def test_an_invalid_traceparent_is_ignored_with_its_state_and_a_new_trace_begins(invalid: str) -> None:
    context = TraceContext.of({"traceparent": invalid, "tracestate": STATE})
    child = context.child()

    assert (context, trace_id(invalid)) == (TraceContext(), "")
    assert child.headers.keys() == {"traceparent"}
    assert trace_id(child.traceparent) not in {"", TRACE}


@pytest.mark.parametrize(
    ("received", "flags"),
    [
        (VALID, "01"),
        (f"00-{TRACE}-{PARENT}-00", "00"),
        (f"00-{TRACE}-{PARENT}-02", "02"),
        (f"00-{TRACE}-{PARENT}-ff", "03"),
        (f"cc-{TRACE}-{PARENT}-01", "01"),
        (f"cc-{TRACE}-{PARENT}-00-later-fields", "00"),
        (f" {VALID}\t", "01"),
    ],
)
def test_the_next_span_keeps_trace_flags_and_state(received: str, flags: str) -> None:
    context = TraceContext.of({"traceparent": received, "tracestate": STATE})
    child = context.child()

    assert context.traceparent == f"00-{TRACE}-{PARENT}-{flags}"
    version, trace, span, child_flags = child.traceparent.split("-")
    assert (version, trace, child_flags, child.tracestate) == ("00", TRACE, flags, STATE)
    assert len(span) == 16
    assert span not in {PARENT, "0" * 16}


@pytest.mark.parametrize(
    ("received", "propagated"),
    [
        ("a=1, b=2 ,, c=3", "a=1,b=2,c=3"),
        ("0tenant@vendor=x y", "0tenant@vendor=x y"),
        (",".join(f"k{n}=1" for n in range(32)), ",".join(f"k{n}=1" for n in range(32))),
        (",".join(f"k{n}=1" for n in range(33)), ""),
        ("a=1,a=2", ""),
        ("a=1,b", ""),
        ("A=1", ""),
        ("a=1=2", ""),
        ("a=\u00e9", ""),
        ("a=" + "x" * 256, "a=" + "x" * 256),
        ("a=" + "x" * 257, ""),
        (f"a={'x' * 254},b={'y' * 253}", f"a={'x' * 254},b={'y' * 253}"),
        (f"a={'x' * 256},b={'y' * 256}", ""),
    ],
)
def test_a_valid_tracestate_is_propagated_and_an_invalid_one_dropped_alone(received: str, propagated: str) -> None:
    context = TraceContext.of({"traceparent": VALID, "tracestate": received})
    assert (context.traceparent, context.tracestate) == (VALID, propagated)


def test_a_context_moves_to_another_span_of_its_trace() -> None:
    context = TraceContext(VALID, STATE)
    assert context.at_span("00f067aa0ba902b7") == TraceContext(f"00-{TRACE}-00f067aa0ba902b7-01", STATE)
    assert TraceContext().at_span("00f067aa0ba902b7") == TraceContext()
    assert (span_id(VALID), span_id("")) == (PARENT, "")
    assert (is_sampled(VALID), is_sampled(f"00-{TRACE}-{PARENT}-00"), is_sampled("")) == (True, False, False)


def test_a_derived_span_has_the_same_id_everywhere_and_a_valid_one() -> None:
    derived = derive_span_id(PARENT, "bk_1.quote_fare", "pricing")
    assert derived == derive_span_id(PARENT, "bk_1.quote_fare", "pricing")
    assert derived != derive_span_id(PARENT, "bk_1.quote_fare", "matching")
    assert derive_span_id("a", "bc") != derive_span_id("ab", "c")
    assert span_id(f"00-{TRACE}-{derived}-01") == derived
