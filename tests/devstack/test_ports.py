"""A port is handed out once: who gets it may listen on it only later."""

import subprocess
import sys

from prebook.devstack import ports
from prebook.devstack.ports import allocate_ports, claim_ports


def test_no_port_is_given_twice() -> None:
    given = [allocate_ports(20) for _ in range(40)]
    assert len({port for each in given for port in each}) == 800


def test_what_was_claimed_is_given_to_nobody() -> None:
    (wanted,) = allocate_ports(1)
    ports.ALLOCATED.discard(wanted)
    assert claim_ports([wanted], "") == (wanted,)
    assert wanted in ports.ALLOCATED


def test_what_another_process_was_given_is_given_to_nobody_until_it_ends() -> None:
    (drawn,) = allocate_ports(1)
    ask = f"from prebook.devstack import ports; print(ports.is_free({drawn}), ports._try_lock({drawn}))"
    other = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=20, check=True)
    assert other.stdout.split() == ["True", "False"], "nobody listens there yet, and it is not to be had"
    theirs = "from prebook.devstack.ports import allocate_ports; print(*allocate_ports(1))"
    ended = subprocess.run([sys.executable, "-c", theirs], capture_output=True, text=True, timeout=20, check=True)
    assert ports._try_lock(int(ended.stdout)), "who has ended has no port"
