"""The user that broker and database run as, and their data directory with its private files."""

import contextlib
import fcntl
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prebook.devstack.child_process import OsUser

UNPRIVILEGED_USER = "nobody"
DATA_DIR_PREFIX = "prebook-data-"
LOCK_FILE = "lock"
NEW_LOCK_FILE = "lock.new"


def unprivileged_user() -> OsUser | None:
    """Return the user that the servers run as: `nobody` if this process is root, as PostgreSQL refuses to run as root.

    None stands for the user of this process.
    """
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED_USER)
    return OsUser(entry.pw_uid, entry.pw_gid)


@contextmanager
def create_data_dir() -> Iterator[Path]:
    """Create a folder for one run and remove it at the end of the block; remove those of killed runs first.

    The folder is not under the home, which may be closed to other users than root, or too deep for a socket's path.
    """
    base = _base_dir(unprivileged_user())
    for path in base.glob(f"{DATA_DIR_PREFIX}*/{LOCK_FILE}"):
        _remove_if_stale(path)
    path = Path(tempfile.mkdtemp(prefix=DATA_DIR_PREFIX, dir=base))
    path.chmod(0o711)  # the servers' user must reach its private folders inside
    try:
        with (path / NEW_LOCK_FILE).open("w") as claim:
            fcntl.flock(claim, fcntl.LOCK_EX)
            (path / NEW_LOCK_FILE).rename(path / LOCK_FILE)  # another run sees the file only once it is locked
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _base_dir(owner: OsUser | None) -> Path:
    """Return $TMPDIR, or another temporary folder if the servers' user cannot reach it."""
    usual = Path(tempfile.gettempdir())
    return next((path for path in (usual, Path("/tmp"), Path("/var/tmp")) if can_reach(path / "x", owner)), usual)  # noqa: S108 - the folders in them get random names


def _remove_if_stale(lock_file: Path) -> None:
    """Remove the data of a run that was killed: the kernel released its lock."""
    with contextlib.suppress(OSError), lock_file.open() as claim:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(lock_file.parent, ignore_errors=True)


def make_private_dir(path: Path, owner: OsUser | None) -> Path:
    """Create a directory that only its owner can enter, and return its path."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    change_owner(path, owner)
    return path


def change_owner(path: Path, owner: OsUser | None) -> None:
    """Change the owner of a path; None leaves it unchanged. Raises OSError."""
    if owner:
        os.chown(path, owner.uid, owner.gid)


def write_private_file(path: Path, text: str, owner: OsUser | None = None, mode: int = 0o600) -> Path:
    """Write the file with owner-only permissions from the start, and return its path."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    change_owner(path, owner)
    return path


def replace_file(path: Path, text: str, *, mode: int = 0o400) -> None:
    """Write a file that appears at once. It keeps owner and mode if it exists, and gets ``mode`` if it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    earlier = path.stat() if path.exists() else None
    new = path.with_name(f".{path.name}.new")
    write_private_file(new, text, mode=stat.S_IMODE(earlier.st_mode) if earlier else mode)
    if earlier and (earlier.st_uid, earlier.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(new, earlier.st_uid, earlier.st_gid)
    new.replace(path)


def can_reach(path: Path, user: OsUser | None) -> bool:
    """Return whether a user may enter every parent of the path; /root, for one, is closed to other users."""
    if user is None:
        return True
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)
