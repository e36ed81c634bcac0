"""Which heads of requests are refused, beyond those that the parser refuses by itself.

A proxy in front may have understood them in another way than this service does, which is how
requests are smuggled; or they are too large.
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
    """Return the answer to a head that is not to be taken, and None to any other.

    The sections of RFC 9112 are 2.3 on versions, 3.2 on `Host`, 3.2.2 on a URL that names another
    host, and 6.1 on transfer codings. Only where `is_long` are the bytes counted.
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
