"""Errors that the person at the terminal can act on."""


class LabError(Exception):
    """The text names the problem and the remedy; it is shown without a traceback."""
