"""What a failed handling means for the message."""


class PermanentFailure(Exception):
    """Handling this message again cannot end differently. ``cause`` is the stable word it is parked with."""

    cause = "permanent"


MAX_SUMMARY_CHARS = 300


def error_summary(error: BaseException) -> str:
    """Type and first line. What follows the first line of a database error may be a row, and a row may be a rider."""
    return f"{type(error).__name__}: {error}".split("\n", 1)[0][:MAX_SUMMARY_CHARS]
