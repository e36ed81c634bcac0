"""Checks of values. Each raises Django's ValidationError, whose message never holds the value."""

from collections.abc import Callable, Iterable
from ipaddress import IPv6Network, collapse_addresses, ip_network
from urllib.parse import unquote

import environ
import psycopg
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from psycopg.conninfo import conninfo_to_dict

type Check = Callable[[str], None]

PRIVATE_IPV6 = IPv6Network("fc00::/7")
IPV4_IN_IPV6 = IPv6Network("::ffff:0:0/96")

LABEL = "[A-Za-z0-9-]+"
HOST = rf"({LABEL}(\.{LABEL})*|\[[0-9A-Fa-f:.]+\])"
ORIGIN = rf"://{HOST}(:[0-9]{{1,5}})?"


def _matches(pattern: str, message: str) -> Check:
    return RegexValidator(rf"\A({pattern})\Z", message)


host = _matches(rf"\*|\.?{HOST}", "must be host names without scheme, port or path")
host_in_production = _matches(
    rf"{HOST}|(\.{LABEL}){{2,}}",
    "must be host names such as api.example.com or .example.com, without scheme, port or path",
)
origin = _matches(f"https?{ORIGIN}", "must be origins without path")
https_origin = _matches(f"https{ORIGIN}", "must be https origins without path")
url = _matches(f"https?{ORIGIN}/*", "must be a URL without path")
https_url = _matches(f"https{ORIGIN}/*", "must be an https URL without path")


def strong(secret: str) -> None:
    is_random = len(secret.encode()) >= 32 and len(set(secret)) >= 8
    if not is_random or "change-me" in secret.lower():
        raise ValidationError("is too weak: use at least 32 random bytes")


def database_url(value: str) -> None:
    try:
        environ.Env.db_url_config(value)
        parts = conninfo_to_dict(value)
    except (ValueError, psycopg.ProgrammingError):
        parts = {}
    is_ours = value.startswith(("postgres://", "postgresql://")) and unquote(value).isprintable()
    if not is_ours or not parts.get("host") or not parts.get("dbname"):
        raise ValidationError("must be postgresql://user:password@host:port/name")


def network(value: str) -> None:
    try:
        ip_network(value)
    except ValueError:
        message = "must be IP addresses or networks such as 10.0.0.0/8"
        raise ValidationError(message) from None


def hold_much_of_the_internet(networks: Iterable[str]) -> bool:
    """Return whether they are, taken together, wider than a /8, or than a public /16 of IPv6."""
    return any(
        network.prefixlen < 96 + 8
        if network.overlaps(IPV4_IN_IPV6)
        else network.prefixlen < 16 and not network.subnet_of(PRIVATE_IPV6)
        for network in collapse_addresses(_as_ipv6(network) for network in networks)
    )


def _as_ipv6(value: str) -> IPv6Network:
    network = ip_network(value)
    if isinstance(network, IPv6Network):
        return network
    return IPv6Network(f"::ffff:{network.network_address}/{96 + network.prefixlen}")
