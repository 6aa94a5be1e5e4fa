"""A RabbitMQ node as a child process: files, environment, start, stop and restart."""

import signal
from dataclasses import dataclass
from pathlib import Path

from prebook.devstack.broker.installation import RabbitInstallation
from prebook.devstack.broker.probe import BrokerProbe
from prebook.devstack.child_process import ChildProcess, Command, run, spawn
from prebook.devstack.errors import UserError
from prebook.devstack.filesystem import make_private_dir, unprivileged_user, write_private_file
from prebook.devstack.polling import wait_until
from prebook.devstack.ports import LOOPBACK
from prebook.messaging.addresses import VHOST

ADMIN_USER = "prebook_admin"
READY_TIMEOUT_S = 60.0
RABBITMQCTL_TIMEOUT_S = 20.0
MEMORY_WATERMARK = "512MB"
DEFAULT_ACKNOWLEDGEMENT_S = (1_800.0, 60.0)
"""RabbitMQ's default limit for unacknowledged messages, and the interval at which it is checked, in seconds."""
START_REMEDY = (
    "correct what the message names; or set PREBOOK_STACK=docker to use a container, or PREBOOK_STACK=external with "
    "PREBOOK_AMQP_URL, PREBOOK_MANAGEMENT_URL and PREBOOK_DATABASE_URL to use servers of your own"
)
LOOPBACK_ONLY = "-kernel inet_dist_use_interface {127,0,0,1}"
NO_BUSY_WAIT = "+sbwt none +sbwtdcpu none +sbwtdio none"
"""Turn off the busy waiting of Erlang's schedulers, to leave the CPU time to the services."""
# Faults of the lab publish in the services' names, which RabbitMQ permits to an impersonator only.
# A quorum queue's log stays in memory until its file is full. The default size, 512 MB, is the whole memory limit.
RABBITMQ_CONF = f"""\
listeners.tcp.1 = {LOOPBACK}:{{amqp}}
management.tcp.ip = {LOOPBACK}
management.tcp.port = {{management}}
management.rates_mode = none
default_user = {ADMIN_USER}
default_pass = {{password}}
default_vhost = {VHOST}
default_user_tags.administrator = true
default_user_tags.impersonator = true
vm_memory_high_watermark.absolute = {MEMORY_WATERMARK}
disk_free_limit.absolute = 50MB
max_message_size = 1048576
log.console = false
log.file.level = warning
raft.wal_max_size_bytes = 33554432
"""


@dataclass(frozen=True, kw_only=True, repr=False)
class NodeConfig:
    """Configuration of a node: its own name and ports, and the cookie and password that its cluster shares.

    ``extra_conf`` are additional lines of rabbitmq.conf, ``erlang_args`` additional arguments of the Erlang VM.
    """

    name: str
    epmd_port: int
    amqp_port: int
    management_port: int
    distribution_port: int
    cookie: str
    password: str
    erlang_args: str
    extra_conf: str = ""

    @property
    def amqp_url(self) -> str:
        """AMQP URL of the node, with the administrator's credentials and the suite's virtual host."""
        return f"amqp://{ADMIN_USER}:{self.password}@{LOOPBACK}:{self.amqp_port}/{VHOST}"

    @property
    def management_url(self) -> str:
        """Base URL of the node's management API, without credentials."""
        return f"http://{LOOPBACK}:{self.management_port}"


class RabbitNode:
    """A RabbitMQ node whose data and files are in ``home``; the directory is created."""

    def __init__(self, installation: RabbitInstallation, home: Path, config: NodeConfig) -> None:
        self._installation = installation
        self._config = config
        self._user = unprivileged_user()
        self._home = make_private_dir(home, self._user)
        self._env = self._environment()
        self.child: ChildProcess | None = None
        self.version = ""

    def command(self, *arguments: str | Path) -> Command:
        """Return the command line of a RabbitMQ or Erlang program, with the environment of this node."""
        return Command(
            args=arguments,
            env=self._env,
            log_file=self._home / "output",
            user=self._user,
            stop_signal=signal.SIGTERM,
        )

    async def start(self) -> ChildProcess:
        """Write the files of the node and start it; it is ready when this returns. Raises UserError."""
        self._write_files()
        return await self._boot()

    async def restart(self) -> None:
        """Start the node again on the same data, ports and credentials; ready when this returns. Raises UserError."""
        await self._boot()

    async def set_memory_watermark(self, watermark: str | None) -> None:
        """Set the watermark, such as ``512MB``; None restores the default. Raises UserError if rabbitmqctl fails."""
        await self._control("set_vm_memory_high_watermark", "absolute", watermark or MEMORY_WATERMARK)

    async def set_acknowledgement_timeout(self, timeout_s: float | None) -> None:
        """Set how long a consumer may leave a message unacknowledged, for channels that are opened from now on.

        None restores RabbitMQ's default. Releases before 3.12 know no time-out of a single queue, and all releases
        check it once a minute unless ``channel_tick_interval`` says otherwise, which rabbitmq.conf cannot set.
        Raises UserError if rabbitmqctl fails.
        """
        limit_s, interval_s = (timeout_s, timeout_s / 2) if timeout_s else DEFAULT_ACKNOWLEDGEMENT_S
        values = {"consumer_timeout": limit_s, "channel_tick_interval": interval_s}
        calls = (f"application:set_env(rabbit, {name}, {round(1000 * seconds)})" for name, seconds in values.items())
        await self._control("eval", f"{', '.join(calls)}.")

    async def _control(self, *arguments: str) -> None:
        """Run rabbitmqctl. Raises UserError."""
        command = self.command(self._installation.server.with_name("rabbitmqctl"), "-q", *arguments)
        try:
            status = await run(command, RABBITMQCTL_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            raise UserError(f"rabbitmqctl {arguments[0]} failed: {error!r}", START_REMEDY) from error
        if status:
            raise UserError(
                f"rabbitmqctl {arguments[0]} ended with status {status}: {command.log_tail()}", START_REMEDY
            )

    async def _boot(self) -> ChildProcess:
        self.child = child = await spawn(self.command(self._installation.server))
        config = self._config
        probe = BrokerProbe(config.management_url, ADMIN_USER, config.password, amqp_port=config.amqp_port)
        await wait_until(probe.is_ready, READY_TIMEOUT_S, subject="RabbitMQ", remedy=START_REMEDY, child=child)
        self.version = probe.version
        return child

    def _write_files(self) -> None:
        config = self._config
        make_private_dir(self._home / "conf.d", self._user)
        written = RABBITMQ_CONF.format(
            amqp=config.amqp_port, management=config.management_port, password=config.password
        )
        files = {
            "rabbitmq.conf": written + config.extra_conf,
            "enabled_plugins": "[rabbitmq_management].\n",
            ".erlang.cookie": config.cookie,
        }
        for name, text in files.items():
            write_private_file(self._home / name, text, self._user)
        (self._home / ".erlang.cookie").chmod(0o400)

    def _environment(self) -> dict[str, str]:
        """Return an environment that inherits nothing, because RABBITMQ_* of this process name another node."""
        home = self._home
        erlang_args = f"{LOOPBACK_ONLY} -start_epmd false {self._config.erlang_args} {NO_BUSY_WAIT}"
        return {
            "PATH": self._installation.path,
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "ERL_EPMD_PORT": str(self._config.epmd_port),
            # Makes the start script exec the Erlang VM, so that the child process is the node and receives the signals.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_NODENAME": self._config.name,
            "RABBITMQ_DIST_PORT": str(self._config.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(home / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang_args,
            "RABBITMQ_CTL_ERL_ARGS": f"{LOOPBACK_ONLY} +S 1:1 {NO_BUSY_WAIT}",
        }
