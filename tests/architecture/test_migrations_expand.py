"""Migrations expand first and contract a release later: during an upgrade, pods of both releases use one schema.

A change that the former release cannot bear (a column or function that is gone, renamed or stricter) belongs into a
migration of the release after the one that stopped using it, and into CONTRACTIONS.
"""

import re
from pathlib import Path

import pytest

DDL = Path(__file__).parents[2] / "migrations" / "ddl"
VERSIONS = Path(__file__).parents[2] / "migrations" / "versions"
BASELINE = {"messaging", "booking", "pricing", "matching", "notification", "fleets", "operations"}
"""Scripts that create a schema, in which no former release has anything."""
CONTRACTIONS = {"fleets_unreadable_replies", "message_id_order"}
"""Scripts that contract. These are older than the first release; the second one changes how a column sorts, not its
values."""
CONTRACTION = re.compile(
    r"\b(?:DROP\s+(?:TABLE|COLUMN|FUNCTION|INDEX|TYPE|VIEW|SCHEMA|CONSTRAINT)|RENAME|REVOKE|SET\s+NOT\s+NULL"
    r"|ALTER\s+COLUMN\s+\w+\s+(?:SET\s+DATA\s+)?TYPE|CREATE\s+OR\s+REPLACE)\b"
    r"|\bADD\s+COLUMN\s+(?:(?!DEFAULT|,|;).)*\bNOT\s+NULL\b(?:(?!DEFAULT|,|;).)*(?=[,;]|$)",
    re.IGNORECASE | re.DOTALL,
)
COMMENT = re.compile(r"--[^\n]*")
SCRIPTS = sorted(path.stem for path in DDL.glob("*.sql"))


def contractions(sql: str) -> list[str]:
    """Return the parts of a script that take something away from the former release."""
    return [" ".join(match.group().split()) for match in CONTRACTION.finditer(COMMENT.sub("", sql))]


@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - BASELINE - CONTRACTIONS))
def test_a_migration_takes_nothing_from_the_former_release(name: str) -> None:
    assert contractions((DDL / f"{name}.sql").read_text()) == [], "expand now, and contract a release later"


def test_the_lists_name_scripts_that_exist() -> None:
    assert set(SCRIPTS) >= BASELINE | CONTRACTIONS


def test_upgrades_run_scripts_only() -> None:
    for path in VERSIONS.glob("*.py"):
        upgrade = path.read_text().partition("def upgrade")[2].partition("def downgrade")[0]
        assert "op.execute" not in upgrade, f"{path.name}: its SQL belongs into migrations/ddl, where it is checked"


@pytest.mark.parametrize(
    "sql",
    [
        "DROP FUNCTION pricing.f(text);",
        "ALTER TABLE a DROP COLUMN b;",
        "ALTER TABLE a RENAME COLUMN b TO c;",
        "ALTER TABLE a ALTER COLUMN b SET NOT NULL;",
        "ALTER TABLE a ALTER COLUMN b TYPE bigint;",
        "ALTER TABLE a ADD COLUMN b text NOT NULL;",
        "ALTER TABLE a ADD COLUMN b text NOT NULL, ADD COLUMN c text DEFAULT '';",
        "CREATE OR REPLACE FUNCTION f() RETURNS int;",
        "REVOKE SELECT ON a FROM b;",
    ],
)
def test_a_contraction_is_found(sql: str) -> None:
    assert contractions(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE a ADD COLUMN b text NOT NULL DEFAULT '';",
        "ALTER TABLE a ADD COLUMN b text;",
        "CREATE TABLE a (b text NOT NULL); -- DROP TABLE of the next release",
        "CREATE FUNCTION f(a text, b text) RETURNS int;",
    ],
)
def test_an_expansion_is_none(sql: str) -> None:
    assert contractions(sql) == []
