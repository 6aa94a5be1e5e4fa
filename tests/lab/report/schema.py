"""Validation of a report against the shipped JSON schema."""

from importlib import resources

import msgspec
from jsonschema import Draft202012Validator, FormatChecker


def schema_errors(report: bytes) -> list[str]:
    schema = msgspec.json.decode((resources.files("prebook.lab.report") / "assets" / "report.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    return [error.message for error in validator.iter_errors(msgspec.json.decode(report))]
