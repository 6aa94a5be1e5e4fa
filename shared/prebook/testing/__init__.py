"""In-memory doubles for tests of services: a database, a broker and a network, and a world that runs services on them.

The services are assembled by the same code as in production (``runtime.assembly``), so that what passes here differs
from production in its adapters only::

    async with World({"notification": (SERVICE, MyState)}, settings=settings, policies=policies) as world:
        await world.broker.publish(...)

The doubles keep transactions honest: a unit of work is a draft that replaces the tables on commit.
"""
