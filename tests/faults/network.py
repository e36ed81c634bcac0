"""A network between the service and PostgreSQL, which can fall silent.

It is a network namespace of the kernel, which only root may make, with a relay in it that leads to
PostgreSQL's own socket. A silent network acknowledges nothing, and tells neither end.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.waiting import until

IP = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
HERE, THERE, PORT = "198.18.77.1", "198.18.77.2", 5432
"""198.18.0.0/15 is for tests of networks (RFC 2544, appendix C.2.2)."""
HARDWARE = "02:00:00:00:77:02"


class NetworkError(Exception):
    """There can be no network of our own here."""


class Network:
    """`url` leads to PostgreSQL through it."""

    url = f"postgresql://postgres@{THERE}:{PORT}/postgres"

    def __init__(self) -> None:
        self.name = f"faults{os.getpid()}"

    def fall_silent(self) -> None:
        self._inside("route", "add", "blackhole", f"{HERE}/32")

    def recover(self) -> None:
        self._inside("route", "del", "blackhole", f"{HERE}/32")

    def _build(self) -> None:
        run("netns", "add", self.name)
        peer = ("peer", "name", "inside", "address", HARDWARE, "netns", self.name)
        run("link", "add", self.name, "type", "veth", *peer)
        run("addr", "add", f"{HERE}/30", "dev", self.name)
        run("link", "set", self.name, "up")
        self._inside("addr", "add", f"{THERE}/30", "dev", "inside")
        self._inside("link", "set", "inside", "up")
        # Who has an address is not asked again: in a silent network nobody would say.
        run("neigh", "replace", THERE, "lladdr", HARDWARE, "dev", self.name, "nud", "permanent")

    def _inside(self, *arguments: str) -> None:
        run("-n", self.name, *arguments)


@contextmanager
def network(socket: Path) -> Iterator[Network]:
    """Build a network in which this socket has an address. Raises NetworkError."""
    if IP is None or os.geteuid() != 0:
        raise NetworkError("needs root, and ip (apt-get install iproute2)")
    built = Network()
    relay = [sys.executable, str(Path(__file__).with_name("relay.py")), THERE, str(PORT)]
    try:
        built._build()
        with subprocess.Popen(
            [IP, "netns", "exec", built.name, *relay, str(socket)], stderr=subprocess.DEVNULL
        ) as process:
            try:
                until(lambda: answers(built.url))
                yield built
            finally:
                process.kill()
    finally:
        for what in ("link", "netns"):
            subprocess.run([IP, what, "delete", built.name], check=False, capture_output=True)


def run(*arguments: str) -> None:
    """Run `ip`. Raises NetworkError with what it says."""
    done = subprocess.run([str(IP), *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise NetworkError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
