"""Every limit of the service in one place, each with its reason; `docs/limits.md` is the table.

They are per worker process unless they say otherwise. Seconds are counted by a clock that no
administrator sets (`time.monotonic`, the event loop's), so that one who does moves no limit.
"""

from typing import Final

BODY_MAX_BYTES: Final = 1024 * 1024
"""The largest body of a request. A widget needs 1 KiB."""
TOKEN_BODY_MAX_BYTES: Final = 16 * 1024
"""The largest body of an exchange. A token of Supabase is 1 to 2 KiB."""
HEAD_MAX_BYTES: Final = 64 * 1024
"""The largest head of a request. Browsers and proxies send 1 to 8 KiB."""
HEAD_MAX_FIELDS: Final = 100
"""The most header fields. Browsers and proxies send 10 to 30."""

RECEIVE_TIMEOUT: Final = 15.0
"""Seconds from the first byte of a request to the last: 1 MiB at 70 KiB/s."""
SEND_TIMEOUT: Final = 15.0
"""Seconds for which a client may leave its answer unread."""
ANSWER_TIMEOUT: Final = 10.0
"""Seconds to answer in: more than to wait for a connection and for one statement."""
KEEP_ALIVE: Final = 75
"""Seconds that an idle connection is kept: longer than the 60 s of the usual load balancers."""

IN_FLIGHT: Final = 200
"""Requests that are worked on at once: at 0.5 ms each, the last waits 100 ms."""
STAFF_IN_FLIGHT: Final = 20
"""Requests of staff that are worked on at once. Each has a thread and a connection of its own."""

DATABASE_CONNECT_TIMEOUT: Final = 3
"""Seconds to wait for PostgreSQL to accept a connection."""
DATABASE_WAIT: Final = 2.0
"""Seconds that a request waits for a free connection before it is told to come again."""
DATABASE_QUEUE: Final = 150
"""Requests that wait for a connection: fewer than IN_FLIGHT, for some need no database."""
STATEMENT_TIMEOUT: Final = 5.0
"""Seconds after which PostgreSQL gives a statement up."""

PAGE_SIZE: Final = 50
"""Items on a page of a list for which no limit was asked: 10 KiB."""
PAGE_SIZE_MAX: Final = 100
"""The most items on a page of a list."""

SHUTDOWN_NOTICE: Final = 2.0
"""Seconds between "not ready" and the end of accepting, for a balancer to notice."""
SHUTDOWN_TIMEOUT: Final = 12
"""Seconds that requests in flight have to finish then: ANSWER_TIMEOUT, and cancelling."""
