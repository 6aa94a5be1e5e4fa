"""What a failed handling means for the message."""


class Permanent(Exception):
    """Handling this message again cannot end differently. ``cause`` is the stable word it is parked with."""

    cause = "permanent"
