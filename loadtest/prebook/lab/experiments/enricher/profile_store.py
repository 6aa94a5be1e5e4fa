"""Process of the resource that an enricher asks: serves profiles over HTTP, and checks the locks during each lookup."""

import asyncio

import asyncpg
import msgspec
from aiohttp import web

from prebook.contracts.riders import RiderProfile, RiderTier
from prebook.lab.experiments.patterns.receiver import TIMEOUT_S
from prebook.lab.experiments.worker import ReadinessFile, redirect_output
from prebook.postgres.dsn import asyncpg_dsn

LOOKUP_MS = 20.0
"""Time that the store takes for a lookup, in milliseconds."""
IS_LOCKED = """
    SELECT NOT EXISTS (
        SELECT FROM pricing.enriched WHERE run = $1 AND message = $2 FOR UPDATE SKIP LOCKED)"""
INSERT_LOOKUP = "INSERT INTO pricing.lookup (run, message, locked) VALUES ($1, $2, $3)"


class ProfileStoreSpec(ReadinessFile, msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of the process. ``port``: the same after a restart."""

    port: int
    database_url: str
    ready_path: str
    log_file: str


def run(spec: ProfileStoreSpec) -> None:
    """Entry point of the process."""
    redirect_output(spec.log_file)
    asyncio.run(_serve(spec))


async def _serve(spec: ProfileStoreSpec) -> None:
    async with asyncpg.create_pool(asyncpg_dsn(spec.database_url), min_size=1, max_size=4) as pool:

        async def handle(request: web.Request) -> web.Response:
            """Answer after LOOKUP_MS, and record whether the row of the message was locked meanwhile."""
            await asyncio.sleep(LOOKUP_MS / 1000)
            arrangement, message = request.query["run"], request.query["message"]
            is_locked = await pool.fetchval(IS_LOCKED, arrangement, message)
            await pool.execute(INSERT_LOOKUP, arrangement, message, is_locked)
            profile = RiderProfile(tier=RiderTier.GOLD)
            return web.Response(body=msgspec.json.encode(profile), content_type="application/json")

        app = web.Application()
        app.router.add_get("/profiles/{rider}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", spec.port).start()
        spec.mark_ready()
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.Event().wait()
