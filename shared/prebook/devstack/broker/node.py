"""One RabbitMQ node as a process of ours: its files, its environment, its end and its return."""

import signal
from dataclasses import dataclass
from pathlib import Path

from prebook.devstack import filesystem as accounts
from prebook.devstack.broker.installation import Installation
from prebook.devstack.broker.probe import VHOST, BrokerProbe
from prebook.devstack.child_process import Child, Command, run, spawn
from prebook.devstack.errors import Trouble
from prebook.devstack.filesystem import folder, private_file
from prebook.devstack.polling import until
from prebook.devstack.ports import LOOPBACK

ADMIN = "prebook_admin"
READY_WITHIN_S, TOLD_WITHIN_S = 60.0, 20.0
MEMORY = "512MB"
LOOK = (
    "look at the message; `PREBOOK_STACK=docker` takes a container instead, PREBOOK_STACK=external with "
    "PREBOOK_AMQP_URL, PREBOOK_MANAGEMENT_URL and PREBOOK_DATABASE_URL takes parts of your own"
)
LOOPBACK_ONLY = "-kernel inet_dist_use_interface {127,0,0,1}"
IDLE = "+sbwt none +sbwtdcpu none +sbwtdio none"
"""No busy waiting: the services need the processor more."""
# What quorum queues write is in memory, too, until its file is full: by default 512 MB, which is all that we allow.
CONFIGURATION = f"""\
listeners.tcp.1 = {LOOPBACK}:{{amqp}}
management.tcp.ip = {LOOPBACK}
management.tcp.port = {{management}}
management.rates_mode = none
default_user = {ADMIN}
default_pass = {{password}}
default_vhost = {VHOST}
vm_memory_high_watermark.absolute = {MEMORY}
disk_free_limit.absolute = 50MB
max_message_size = 1048576
log.console = false
log.file.level = warning
raft.wal_max_size_bytes = 33554432
"""


@dataclass(frozen=True, kw_only=True, repr=False)
class Seat:
    """What makes one node different from another, and what it shares with those of its cluster (cookie, password).

    ``lines`` are further ones of its configuration, ``emulator`` further arguments of Erlang's.
    """

    name: str
    mapper: int
    amqp: int
    management: int
    distribution: int
    cookie: str
    password: str
    emulator: str
    lines: str = ""

    @property
    def amqp_url(self) -> str:
        return f"amqp://{ADMIN}:{self.password}@{LOOPBACK}:{self.amqp}/{VHOST}"

    @property
    def management_url(self) -> str:
        return f"http://{LOOPBACK}:{self.management}"


class Node:
    """Its data and files are in ``home``, which is made."""

    def __init__(self, found: Installation, home: Path, seat: Seat) -> None:
        self._found, self._seat = found, seat
        self._account = accounts.account()
        self._home = folder(home, self._account)
        self._env = self._environment()
        self.child: Child | None = None
        self.version = ""

    def command(self, *arguments: str | Path) -> Command:
        """One of RabbitMQ's or Erlang's programs, for this node."""
        return Command(
            args=arguments,
            env=self._env,
            log=self._home / "output",
            account=self._account,
            farewell=signal.SIGTERM,
        )

    async def start(self) -> Child:
        """Ready when it returns. Raises Trouble."""
        self._lay_out()
        return await self._boot()

    async def revive(self) -> None:
        await self._boot()

    async def limit_memory(self, limit: str | None) -> None:
        ctl = self._found.server.with_name("rabbitmqctl")
        command = self.command(ctl, "-q", "set_vm_memory_high_watermark", "absolute", limit or MEMORY)
        try:
            status = await run(command, TOLD_WITHIN_S)
        except (OSError, TimeoutError) as error:
            raise Trouble(f"rabbitmqctl could not set the memory's limit: {error!r}", LOOK) from error
        if status:
            raise Trouble(f"rabbitmqctl ended with status {status}: {command.last_words()}", LOOK)

    async def _boot(self) -> Child:
        self.child = child = await spawn(self.command(self._found.server))
        seat = self._seat
        probe = BrokerProbe(seat.management_url, ADMIN, seat.password, amqp_port=seat.amqp)
        await until(probe.holds, READY_WITHIN_S, what="RabbitMQ", remedy=LOOK, child=child)
        self.version = probe.version
        return child

    def _lay_out(self) -> None:
        seat = self._seat
        folder(self._home / "conf.d", self._account)
        written = CONFIGURATION.format(amqp=seat.amqp, management=seat.management, password=seat.password)
        files = {
            "rabbitmq.conf": written + seat.lines,
            "enabled_plugins": "[rabbitmq_management].\n",
            ".erlang.cookie": seat.cookie,
        }
        for name, text in files.items():
            private_file(self._home / name, text, self._account)
        (self._home / ".erlang.cookie").chmod(0o400)

    def _environment(self) -> dict[str, str]:
        """Nothing of our own environment: RABBITMQ_* there is about somebody else's node."""
        home = self._home
        return {
            "PATH": self._found.path,
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self._seat.mapper),
            # The start script then becomes the emulator, so that our child is the node and signals reach it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_NODENAME": self._seat.name,
            "RABBITMQ_DIST_PORT": str(self._seat.distribution),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(home / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{LOOPBACK_ONLY} -start_epmd false {self._seat.emulator} {IDLE}",
            "RABBITMQ_CTL_ERL_ARGS": f"{LOOPBACK_ONLY} +S 1:1 {IDLE}",
        }
