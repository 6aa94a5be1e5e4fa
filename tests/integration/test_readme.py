"""The shell blocks of README and guide that are marked with `sh test` work as they are printed."""

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.database_probe import DatabaseProbe
from tests.integration.suite import Suite, run_command

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "docs" / "guide.md")
ADDRESS = "127.0.0.1:8080"
BLOCK = re.compile(r"^```sh test\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXPECTED_STATUS = re.compile(r"\((\d{3})\)")


def blocks() -> list[str]:
    """Return the marked shell blocks of all pages."""
    return [block for page in PAGES for block in BLOCK.findall(page.read_text())]


def test_there_are_blocks_and_each_uses_the_default_address() -> None:
    assert len(blocks()) >= 3
    assert all(ADDRESS in block for block in blocks())


@pytest.mark.parametrize("number", range(len(blocks())))
async def test_a_block_works_as_printed(suite: Suite, database: DatabaseProbe, number: int) -> None:
    block = blocks()[number]
    done = run_block(block, suite)
    assert (done.returncode, done.stderr) == (0, "")
    assert "internal_error" not in done.stdout
    for status in EXPECTED_STATUS.findall(block):
        assert f"HTTP/1.1 {status}" in done.stdout, "the response has the status that the comment names"
    await database.verify_bookings(re.findall(r'"id":"(bk_[0-9a-f]+)"', done.stdout))


def run_block(block: str, suite: Suite) -> subprocess.CompletedProcess[str]:
    """Run a block against this suite, in a shell that stops at the first error."""
    script = block.replace(ADDRESS, urlsplit(suite.state.urls["booking"]).netloc)
    return run_command(["bash", "-euo", "pipefail", "-c", script], suite.env)
