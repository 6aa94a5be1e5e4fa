"""Environment of the one service of a container, and the variables that no service gets.

Apart from ``service_environment``, because the supervisor of every container would pay for the imports of that module.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from prebook.devstack.proxies.container_links import links_of, via_console
from prebook.flows import CONSOLE, PROCESSES
from prebook.runtime import paths
from prebook.text_file import read_secret

SUPERVISOR_SETTINGS = (
    "CONTROL_TOKEN",
    "CONTROL_TOKEN_SHA256",
    *(f"CONTROL_TOKEN_{name.upper()}" for name in (*PROCESSES, CONSOLE)),
    "ROLE_PASSWORDS",
    "CONSOLE_SECRETS",
    "OPERATOR_TOKEN",
)
"""Secrets of the supervisor and the console: no service gets them."""


def container_environment(service: str, env: Mapping[str, str], proxy_host: str = "") -> dict[str, str]:
    """Return the environment of a container's one service: the container's, without the supervisor's secrets.

    ``proxy_host``: console whose fault proxies the service's connections pass; "" for none. Raises OSError if a file
    with a URL cannot be read.
    """
    given = {k: v for k, v in env.items() if k not in variable_names(SUPERVISOR_SETTINGS)}
    links = _proxied_urls(service, given, proxy_host) if proxy_host else {}
    files = {f"{name}_FILE" for name in links}
    return {
        "PREBOOK_COUPLINGS": str(paths.couplings_file()),
        **{name: value for name, value in given.items() if name not in files},
        **links,
    }


def _proxied_urls(service: str, env: Mapping[str, str], host: str) -> dict[str, str]:
    """Return the URL variables that are set, directly or by a file, with the addresses of the console's proxies."""
    urls = {}
    for name, link in links_of(service).items():
        file = env.get(f"{name}_FILE")
        if url := read_secret(Path(file)) if file else env.get(name):
            urls[name] = via_console(url, link, host)
    return urls


def variable_names(settings: Collection[str]) -> frozenset[str]:
    """Return the variables of the settings: PREBOOK_<NAME>, and PREBOOK_<NAME>_FILE for a file with the value."""
    return frozenset(f"PREBOOK_{name}{suffix}" for name in settings for suffix in ("", "_FILE"))
