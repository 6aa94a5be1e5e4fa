"""What the kernel says about processes."""

from pathlib import Path


def processes_in(folder: Path) -> list[int]:
    """Every process that has the folder on its command line or works in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in line:
                found.append(int(entry.name))
    return found


def program(pid: int) -> str:
    return str(Path(f"/proc/{pid}/exe").readlink())


def are_there(beginning: Path) -> list[Path]:
    """Files and folders whose path begins so."""
    return list(beginning.parent.glob(f"{beginning.name}*"))


def listeners(pid: int) -> set[str]:
    """Addresses, as the kernel writes them, that the process listens on (IPv4: 0100007F is 127.0.0.1)."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
        except OSError:
            continue
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                addresses.add(fields[1].split(":")[0])
    return addresses
