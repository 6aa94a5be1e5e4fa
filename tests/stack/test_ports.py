"""A port is handed out once: who gets it may listen on it only later."""

from prebook.runtime.stack import ports
from prebook.runtime.stack.ports import claim, free_ports


def test_no_port_is_given_twice() -> None:
    given = [free_ports(20) for _ in range(40)]
    assert len({port for each in given for port in each}) == 800


def test_what_was_claimed_is_given_to_nobody() -> None:
    (wanted,) = free_ports(1)
    ports.GIVEN.discard(wanted)
    assert claim([wanted], "") == (wanted,)
    assert wanted in ports.GIVEN
