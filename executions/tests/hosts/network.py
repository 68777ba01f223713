"""Hosts of one machine: a network namespace each, joined by a bridge on which the database listens.

It takes root and the `ip` command. Nothing that is made here outlives the network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

# Test runs beside each other have a subnet each.
_SUBNET = f"10.213.{os.getpid() % 250}"
GATEWAY = f"{_SUBNET}.1"
NETWORK = f"{_SUBNET}.0/24"


class Host:
    """One host. Its name is also that of its namespace and of its end of the cable."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.address = f"{_SUBNET}.{number}"

    def command(self, *words: str) -> list[str]:
        """A command that runs on this host, under this host's name."""
        rename = 'hostname "$0" && exec "$@"'
        inside = ["ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c", rename]
        return [*inside, self.name, *words]


class Network:
    """A bridge and the hosts on it, each by a cable that can be pulled."""

    def __init__(self, hosts: int) -> None:
        stem = f"fm{os.getpid() % 100_000}"
        self.bridge = f"{stem}b"
        self.hosts = [Host(f"{stem}h{number}", 10 + number) for number in range(hosts)]

    @staticmethod
    def missing() -> str | None:
        """What this machine lacks for a network of its own; None when nothing."""
        if os.geteuid() != 0:
            return "Only root may make network namespaces."
        for program in ("ip", "unshare", "hostname"):
            if shutil.which(program) is None:
                return f"There is no `{program}` command."
        try:
            Network(0).close_after(lambda network: network.open())
        except subprocess.CalledProcessError as error:
            return f"This machine takes no bridge: {error.stderr.strip()}"
        return None

    def close_after(self, action: Callable[[Network], None]) -> None:
        """Does something with the network and closes it."""
        try:
            action(self)
        finally:
            self.close()

    def open(self) -> None:
        """Makes the bridge, the hosts and their cables."""
        _ip("link", "add", self.bridge, "type", "bridge")
        _ip("address", "add", f"{GATEWAY}/24", "dev", self.bridge)
        _ip("link", "set", self.bridge, "up")
        for host in self.hosts:
            _ip("netns", "add", host.name)
            _ip(
                "link", "add", host.name, "type", "veth", "peer", "name", "eth0",
                "netns", host.name,
            )  # fmt: skip
            _ip("link", "set", host.name, "master", self.bridge, "up")
            _ip("-n", host.name, "link", "set", "lo", "up")
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
            _ip("-n", host.name, "link", "set", "eth0", "up")

    def cut(self, host: Host) -> None:
        """Takes a host's cable off the bridge: packets vanish, both ways, and nobody is told."""
        _ip("link", "set", host.name, "nomaster")

    def mend(self, host: Host) -> None:
        """Puts it back."""
        _ip("link", "set", host.name, "master", self.bridge)

    def close(self) -> None:
        """Removes everything; a namespace takes its cable with it."""
        for host in self.hosts:
            _ip("netns", "delete", host.name, check=False)
            _ip("link", "delete", host.name, check=False)
        _ip("link", "delete", self.bridge, check=False)


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True, text=True)
