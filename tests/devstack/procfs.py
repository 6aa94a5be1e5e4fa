"""Processes, files and sockets as /proc and the file system list them."""

from pathlib import Path


def processes_in(folder: Path) -> list[int]:
    """Return the ids of processes with ``folder`` in their command line or environment."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in text:
                pids.append(int(entry.name))
    return pids


def program_path(pid: int) -> str:
    """Return the path of the program that a process runs."""
    return str(Path(f"/proc/{pid}/exe").readlink())


def paths_with_prefix(prefix: Path) -> list[Path]:
    """Return the files and folders whose path begins with ``prefix``."""
    return list(prefix.parent.glob(f"{prefix.name}*"))


def listeners(pid: int) -> set[str]:
    """Return the addresses on which a process listens, as the kernel writes them (IPv4: 0100007F is 127.0.0.1)."""
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
