"""Files of the page: read once, and served under their names."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "assets"
PAGE = "index.html"
MEDIA_TYPES = {  # the framework adds the charset of text
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    """Content of a file, and its media type."""

    content: bytes
    media_type: str


@cache
def read_assets() -> Mapping[str, Asset]:
    """Return all files of the page by name."""
    return {path.name: Asset(path.read_bytes(), MEDIA_TYPES[path.suffix]) for path in sorted(FOLDER.iterdir())}
