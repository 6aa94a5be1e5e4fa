"""Files that a user writes: settings, secrets and measurements."""

from pathlib import Path


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, without a byte order mark. Raises OSError, also if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise OSError(f"{path} is not UTF-8 text, from byte {error.start} on; save it as UTF-8") from None


def read_secret(path: Path) -> str:
    """Return the text of a UTF-8 file without surrounding white space. Raises OSError, also if nothing is left."""
    text = read_text(path).strip()
    if not text:
        raise OSError(f"{path} is empty")
    return text
