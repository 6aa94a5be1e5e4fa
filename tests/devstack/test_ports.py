"""A port is allocated only once, because its owner may listen on it only later."""

import subprocess
import sys

from prebook.devstack import ports
from prebook.devstack.ports import allocate_ports, claim_ports


def test_no_port_is_allocated_twice() -> None:
    allocations = [allocate_ports(20) for _ in range(40)]
    assert len({port for each in allocations for port in each}) == 800


def test_a_claimed_port_is_not_allocated() -> None:
    (port,) = allocate_ports(1)
    ports.ALLOCATED.discard(port)
    assert claim_ports([port], "") == (port,)
    assert port in ports.ALLOCATED


def test_a_port_of_another_process_is_not_allocated_until_that_process_ends() -> None:
    (port,) = allocate_ports(1)
    check = f"from prebook.devstack import ports; print(ports.is_free({port}), ports._try_lock({port}))"
    other = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=20, check=True)
    assert other.stdout.split() == ["True", "False"], "the port is free, but locked by this process"
    allocate = "from prebook.devstack.ports import allocate_ports; print(*allocate_ports(1))"
    ended = subprocess.run([sys.executable, "-c", allocate], capture_output=True, text=True, timeout=20, check=True)
    assert ports._try_lock(int(ended.stdout)), "an ended process holds no port"
