"""RabbitMQ as a private node: own name, cookie, ports, port mapper and data, nothing shared with a packaged service."""

import secrets
import signal
from pathlib import Path

from prebook.runtime.stack import account as accounts
from prebook.runtime.stack.account import folder, private_file
from prebook.runtime.stack.broker_probe import VHOST, BrokerProbe
from prebook.runtime.stack.child import Child, Command, spawn
from prebook.runtime.stack.parts import Broker, Say
from prebook.runtime.stack.ports import LOOPBACK, free_ports, is_free
from prebook.runtime.stack.rabbitmq_found import Installation
from prebook.runtime.stack.waiting import until

ADMIN = "prebook_admin"
MAPPER_WITHIN_S, READY_WITHIN_S = 10.0, 60.0
STOP_WITHIN_S = 2.0
"""Its orderly stop takes 6 s and saves data that is thrown away a moment later."""
LOOK = (
    "look at the message; `PREBOOK_STACK=docker` takes a container instead, PREBOOK_STACK=external with "
    "PREBOOK_AMQP_URL, PREBOOK_MANAGEMENT_URL and PREBOOK_DATABASE_URL takes parts of your own"
)
EMULATOR = (
    "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false "
    "+S 2:2 +SDcpu 1:1 +A 4 +sbwt none +sbwtdcpu none +sbwtdio none"
)
"""Loopback only, and no busy waiting: the services need the processor more."""
CONFIGURATION = f"""\
listeners.tcp.1 = {LOOPBACK}:{{amqp}}
management.tcp.ip = {LOOPBACK}
management.tcp.port = {{management}}
management.rates_mode = none
default_user = {ADMIN}
default_pass = {{password}}
default_vhost = {VHOST}
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 50MB
max_message_size = 1048576
log.console = false
log.file.level = warning
"""


class PrivateNode:
    """One node with a random administrator; `guest` is never created."""

    def __init__(self, found: Installation, data: Path, say: Say) -> None:
        self._found, self._data, self._say = found, data, say
        self._account = accounts.account()
        self._children: list[Child] = []

    async def start(self) -> Broker:
        self._say(f"RabbitMQ: starting a private node of {self._found.server}")
        amqp, management, distribution, mapper = free_ports(4)
        password = secrets.token_hex(16)
        home = self._lay_out(amqp, management, password)
        env = self._environment(home, distribution, mapper)
        await self._map_ports(home, env, mapper)
        node = await spawn(self._command(home, env, self._found.server))
        self._children.append(node)
        url = f"http://{LOOPBACK}:{management}"
        probe = BrokerProbe(url, ADMIN, password, amqp_port=amqp)
        await until(probe.holds, READY_WITHIN_S, what="RabbitMQ", remedy=LOOK, child=node)
        return Broker(
            name="RabbitMQ",
            version=probe.version,
            amqp_url=f"amqp://{ADMIN}:{password}@{LOOPBACK}:{amqp}/{VHOST}",
            management_url=url,
            user=ADMIN,
            password=password,
            pid=node.pid,
        )

    async def stop(self) -> None:
        """The node before its port mapper."""
        for child in reversed(self._children):
            await child.stop(STOP_WITHIN_S)

    def _lay_out(self, amqp: int, management: int, password: str) -> Path:
        home = folder(self._data / "rabbitmq", self._account)
        folder(home / "conf.d", self._account)
        files = {
            "rabbitmq.conf": CONFIGURATION.format(amqp=amqp, management=management, password=password),
            "enabled_plugins": "[rabbitmq_management].\n",
            ".erlang.cookie": secrets.token_hex(16),
        }
        for name, text in files.items():
            private_file(home / name, text, self._account)
        (home / ".erlang.cookie").chmod(0o400)
        return home

    def _environment(self, home: Path, distribution: int, mapper: int) -> dict[str, str]:
        """Nothing of our own environment: RABBITMQ_* there is about somebody else's node."""
        return {
            "PATH": self._found.path,
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(mapper),
            # The start script then becomes the emulator, so that our child is the node and signals reach it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_NODENAME": f"prebook-{mapper}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(home / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": EMULATOR,
        }

    async def _map_ports(self, home: Path, env: dict[str, str], port: int) -> None:
        """Erlang's own would listen on every interface and stay behind when the node has gone."""
        mapper = await spawn(self._command(home, env, self._found.epmd, "-port", str(port), "-address", LOOPBACK))
        self._children.append(mapper)

        async def listens() -> bool:
            return not is_free(port)

        await until(listens, MAPPER_WITHIN_S, what="Erlang's port mapper", remedy=LOOK, child=mapper)

    def _command(self, home: Path, env: dict[str, str], *arguments: str | Path) -> Command:
        return Command(args=arguments, env=env, log=home / "output", account=self._account, farewell=signal.SIGTERM)
