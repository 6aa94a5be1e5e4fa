"""Writer of report files: each is replaced atomically."""

import os
import tempfile
from pathlib import Path

from prebook.devstack.errors import UserError


class ReportFolderUnusable(UserError):
    """The report folder is not writable; raised before any ride is offered."""


def prepare_folder(folder: Path) -> None:
    """Create the folder if necessary and check that it is writable. Raises ReportFolderUnusable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ReportFolderUnusable(f"cannot write to {folder} ({error})", "choose another with --report DIR") from error


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file atomically."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
