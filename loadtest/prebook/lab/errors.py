"""Base class of the errors that a user of the lab can act on."""


class LabError(Exception):
    """An error whose text names the problem and the remedy; commands print it without a traceback."""
