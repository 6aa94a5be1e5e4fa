"""Errors of the RabbitMQ adapters. Publishers and consumers raise those of ``messaging.errors`` otherwise.

::

    Exception
    +-- BrokerUnreachable       no reply from the management API: check address and plugin
    +-- BrokerRefused           the management API refused the request
    +-- ValueError
        +-- AmqpLimitExceeded   the message fits no frame; the publisher raises Undeliverable for it
"""


class BrokerUnreachable(Exception):
    """No reply at the address, or not from a management API; the text says what to check."""


class BrokerRefused(Exception):
    """The broker understood the request and refused it; the text has its reason."""


class AmqpLimitExceeded(ValueError):
    """A name, a header or the headers together exceed a limit of the protocol or of the connection."""
