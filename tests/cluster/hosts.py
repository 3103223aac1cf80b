"""Hosts on one machine: network namespaces with addresses of their own on a bridge."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NET = "10.77.31"


def unavailable() -> str | None:
    """Why no hosts can be made here; None where they can."""
    if os.geteuid() != 0:
        return "needs root, to make network namespaces"
    if shutil.which("ip") is None:
        return "needs ip (Debian: apt install iproute2)"
    probe = subprocess.run(["ip", "netns", "add", "crnn-probe"], capture_output=True, check=False)
    if probe.returncode != 0:
        return f"needs network namespaces: {probe.stderr.decode().strip()}"
    subprocess.run(["ip", "netns", "delete", "crnn-probe"], check=True)
    return None


@dataclass
class Network:
    """A bridge and the hosts at it."""

    name: str = field(default_factory=lambda: f"crnn{os.getpid() % 10_000}")
    hosts: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Makes the bridge; this machine itself is at .254."""
        addresses = subprocess.run(
            ["ip", "-br", "address"], capture_output=True, text=True, check=True
        ).stdout
        assert f"{NET}.254/" not in addresses, (
            f"Another run has its network here, or one that was killed has left it: {addresses}\n"
            "Remove a left one with `ip netns delete NAME` for each of `ip netns`, `ip link delete BRIDGE`."
        )
        _ip("link", "add", self.name, "type", "bridge")
        _ip("address", "add", f"{NET}.254/24", "dev", self.name)
        _ip("link", "set", self.name, "up")

    def add(self, host: str) -> tuple[str, list[str]]:
        """A new host: its address, and what commands that run on it begin with."""
        self.hosts.append(host)
        number, space, link = len(self.hosts), f"{self.name}-{host}", self._link(host)
        _ip("netns", "add", space)
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", link, "master", self.name, "up")
        for command in (
            ["link", "set", "lo", "up"],
            ["address", "add", f"{NET}.{number}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
        ):
            _ip("-n", space, *command)
        return f"{NET}.{number}", ["ip", "netns", "exec", space]

    def cut(self, host: str) -> None:
        """Takes a host's link down: it lives, and nobody hears of it."""
        _ip("link", "set", self._link(host), "down")

    def mend(self, host: str) -> None:
        """Brings the link up again."""
        _ip("link", "set", self._link(host), "up")

    def close(self) -> None:
        """Removes hosts and bridge."""
        for host in self.hosts:
            subprocess.run(["ip", "netns", "delete", f"{self.name}-{host}"], check=False)
        subprocess.run(["ip", "link", "delete", self.name], check=False)

    def _link(self, host: str) -> str:
        return f"{self.name}v{self.hosts.index(host) + 1}"


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


def with_disk(disk: Path, at: Path) -> list[str]:
    """What a host's commands begin with besides, to have a disk of its own where all have a folder."""
    mount = 'mount --bind "$0" "$1" && shift && exec "$@"'  # `ip netns exec` has made the mounts private
    return ["sh", "-c", mount, str(disk), str(at)]


def on(
    prefix: Sequence[str], *command: str, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a command on a host and waits for it."""
    return subprocess.run(
        [*prefix, *command], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
