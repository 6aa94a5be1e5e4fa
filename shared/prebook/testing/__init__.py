"""In-memory doubles for tests of services: a database, a broker and a network, and a world that runs services on them.

The services are assembled by the same code as in production (``runtime.assembly``), so that what passes here differs
from production in its adapters only::

    async with World({"loyalty": (LOYALTY, MemoryPoints), "checkout": (CHECKOUT, MemoryReceipts)}) as world:
        await world.execute("checkout", FinishRide(...), "ride-1")
        await world.wait_for_state("checkout", lambda state: "ride-1" in state.receipts)

Modules: ``world`` runs services against each other, ``single`` assembles one service on its own, ``configuration``
makes their settings and policies. The guide explains this example: "Test a service of your own in memory".

The doubles keep transactions honest: a unit of work is a draft that replaces the tables on commit.
"""
