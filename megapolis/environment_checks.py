"""Whether a value of the environment can be what it is meant to be."""

import unicodedata
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from urllib.parse import unquote, urlsplit

import environ
import psycopg
from psycopg.conninfo import conninfo_to_dict

SECRET_BYTES = 32
DISTINCT_CHARACTERS = 8
WIDEST = {4: 8, 6: 16}
"""The shortest prefix of a network that may be trusted: 10.0.0.0/8, and the largest IPv6 blocks."""
PRIVATE_IPV6 = IPv6Network("fc00::/7")
IPV4_IN_IPV6 = IPv6Network("::ffff:0:0/96")


def is_printable(value: str) -> bool:
    return not any(unicodedata.category(character) in {"Cc", "Cs"} for character in value)


def is_weak(secret: str) -> bool:
    return (
        len(secret.encode()) < SECRET_BYTES
        or len(set(secret)) < DISTINCT_CHARACTERS
        or "change-me" in secret.lower()
    )


def is_database_url(value: str) -> bool:
    parts = urlsplit(value) if accepts(urlsplit, value) else urlsplit("")
    if parts.scheme not in {"postgres", "postgresql"} or not is_printable(unquote(value)):
        return False
    if not accepts(conninfo_to_dict, value) or not accepts(environ.Env.db_url_config, value):
        return False
    given = conninfo_to_dict(value)
    return bool(given.get("host")) and bool(given.get("dbname"))


def accepts(parse: Callable[[str], object], value: str) -> bool:
    try:
        parse(value)
    except (ValueError, psycopg.ProgrammingError):
        return False
    return True


def hold_much_of_the_internet(networks: Iterable[str]) -> bool:
    """Return whether the networks, taken together, are wider than any one operator's."""
    return any(
        network.prefixlen < 96 + WIDEST[4]
        if network.overlaps(IPV4_IN_IPV6)
        else network.prefixlen < WIDEST[6] and not network.subnet_of(PRIVATE_IPV6)
        for network in collapse_addresses(_as_ipv6(ip_network(network)) for network in networks)
    )


def _as_ipv6(network: IPv4Network | IPv6Network) -> IPv6Network:
    if isinstance(network, IPv6Network):
        return network
    first = int(IPV4_IN_IPV6.network_address) + int(network.network_address)
    return IPv6Network((first, 96 + network.prefixlen))
