"""Rejects headers that the parser accepts: those that are too large, and ambiguous ones.

A proxy may read ambiguous headers differently from this service. That allows request smuggling.
"""

from collections.abc import Sequence
from typing import Final

from megapolis.environment import limits
from megapolis.http.prepared_response import PreparedResponse, prepared_problem

type Headers = Sequence[tuple[bytes, bytes]]

CLOSE: Final = {"Connection": "close"}
MALFORMED: Final = prepared_problem(400, "Malformed request", CLOSE)
NO_HOST: Final = prepared_problem(400, "Exactly one Host is needed", CLOSE)
TOO_LARGE: Final = prepared_problem(431, "Too many headers", CLOSE)

VERSIONS: Final = frozenset({"1.0", "1.1"})


def rejection(
    url: bytes, headers: Headers, *, version: str, is_long: bool
) -> PreparedResponse | None:
    """Return the response to invalid headers, or None. Bytes are counted only if `is_long`.

    RFC 9112: section 2.3 (versions), 3.2 (`Host`), 3.2.2 (a URL with another host), 6.1 (transfer
    codings).
    """
    if version not in VERSIONS:
        return MALFORMED
    hosts, codings = [], []
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"transfer-encoding":
            codings.append(value.lower())
    if len(hosts) > 1 or (not hosts and version == "1.1"):
        return NO_HOST
    names_another = not url.startswith((b"/", b"*")) and not url.startswith(
        b"http://%b/" % b"".join(hosts)
    )
    if names_another or (codings and (codings != [b"chunked"] or version == "1.0")):
        return MALFORMED
    fits = not is_long or _size(url, headers) <= limits.HEAD_MAX_BYTES
    return None if fits and len(headers) <= limits.HEAD_MAX_FIELDS else TOO_LARGE


def _size(url: bytes, headers: Headers) -> int:
    return len(url) + sum(len(name) + len(value) for name, value in headers)
