"""Headers of dead letters: what the broker gives a meaning is left out, and what is too large is cut."""

from hypothesis import given
from hypothesis import strategies as st

from prebook.messaging.codec import encode
from prebook.messaging.headers import CAUSE_HEADER, OMITTED_HEADER, is_broker_header
from prebook.messaging.recoverability.publishable_headers import publishable_headers
from tests.messaging.examples import request

LIMIT = 2048
NAMES = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(["CC", "BCC", "x-death", "ce-id"])


def size(headers: dict[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) + 6 for name, value in headers.items())


def test_headers_that_fit_are_unchanged() -> None:
    headers = {**encode(request()).headers, CAUSE_HEADER: "bad_json"}
    assert publishable_headers(headers, LIMIT) == headers


def test_headers_with_a_meaning_for_the_broker_are_described_instead() -> None:
    headers = {"ce-id": "m", "CC": "['a', 'b']", "BCC": "['c']", "x-delay": "5", "x-death": "[...]"}
    assert publishable_headers(headers, LIMIT) == {
        "ce-id": "m",
        OMITTED_HEADER: "CC: ['a', 'b'] (for the broker); BCC: ['c'] (for the broker); x-delay: 5 (for the broker)",
    }


def test_the_longest_values_are_cut_first() -> None:
    headers = {"ce-id": "m" * 200, "pad": "p" * 100_000, CAUSE_HEADER: "bad_json"}
    fitting = publishable_headers(headers, 8192)
    assert fitting["ce-id"] == headers["ce-id"]
    assert fitting[CAUSE_HEADER] == "bad_json"
    assert fitting["pad"].endswith("p... of 100000 bytes")
    assert fitting[OMITTED_HEADER].endswith("0 left out, 1 cut: pad")


def test_headers_of_strangers_are_left_out_before_our_own() -> None:
    headers = {**{f"h{number}": "" for number in range(5000)}, "ce-id": "m", CAUSE_HEADER: "bad_json"}
    fitting = publishable_headers(headers, LIMIT)
    assert (fitting["ce-id"], fitting[CAUSE_HEADER]) == ("m", "bad_json")
    assert "of 5002 headers with" in fitting[OMITTED_HEADER]


@given(st.dictionaries(NAMES, st.text(st.characters(codec="utf-8"), max_size=3000), max_size=40))
def test_any_headers_fit(headers: dict[str, str]) -> None:
    fitting = publishable_headers(headers, LIMIT)
    assert size(fitting) <= LIMIT + size({OMITTED_HEADER: "o" * 500})
    assert not any(is_broker_header(name) for name in fitting)
