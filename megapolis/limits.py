"""Every limit of the service in one place, each with its reason; `docs/limits.md` is the table.

Each is a whole number and a variable of the environment, read as `megapolis.environment` reads the
others. Those with a word such as "worker" count per process. Seconds are counted by a clock that
no administrator sets (`time.monotonic`, the event loop's), so that one who does moves no limit.
"""

from typing import Final

from megapolis import environment
from megapolis.environment_reader import Reader

read = Reader(environment.read.source)

BODY_MAX_BYTES: Final = read.integer(
    "BODY_MAX_BYTES",
    "The largest body of a request, in bytes (1024 to 104857600, default 1048576). "
    "A widget needs 1 KiB.",
    default=1024 * 1024,
    minimum=1024,
    maximum=104_857_600,
)
BODIES_MAX_BYTES: Final = read.integer(
    "BODIES_MAX_BYTES",
    "Bytes beyond the first 64 KiB of each body that a worker holds while they come in "
    "(1048576 to 10737418240, default 67108864). 68 of the largest at once.",
    default=64 * 1024 * 1024,
    minimum=1024 * 1024,
    maximum=10 * 1024**3,
)
TOKEN_BODY_MAX_BYTES: Final = read.integer(
    "TOKEN_BODY_MAX_BYTES",
    "The largest body of an exchange, in bytes (1024 to 1048576, default 16384). "
    "A token of Supabase is 1 to 2 KiB.",
    default=16 * 1024,
    minimum=1024,
    maximum=1_048_576,
)
HEAD_MAX_BYTES: Final = read.integer(
    "HEAD_MAX_BYTES",
    "The largest head of a request, in bytes (1024 to 1048576, default 65536). "
    "Browsers and proxies send 1 to 8 KiB.",
    default=64 * 1024,
    minimum=1024,
    maximum=1_048_576,
)
HEAD_MAX_FIELDS: Final = read.integer(
    "HEAD_MAX_FIELDS",
    "The most header fields of a request (10 to 1000, default 100). "
    "Browsers and proxies send 10 to 30.",
    default=100,
    minimum=10,
    maximum=1000,
)

RECEIVE_TIMEOUT: Final = read.integer(
    "RECEIVE_TIMEOUT",
    "Seconds from the first byte of a request to the last (1 to 600, default 15). "
    "1 MiB at 70 KiB/s.",
    default=15,
    minimum=1,
    maximum=600,
)
SEND_TIMEOUT: Final = read.integer(
    "SEND_TIMEOUT",
    "Seconds for which a client may leave its answer unread (1 to 600, default 15). "
    "As long as it may take to ask.",
    default=15,
    minimum=1,
    maximum=600,
)
ANSWER_TIMEOUT: Final = read.integer(
    "ANSWER_TIMEOUT",
    "Seconds to answer in (1 to 600, default 10). "
    "More than to wait for a connection and for one statement.",
    default=10,
    minimum=1,
    maximum=600,
)
KEEP_ALIVE: Final = read.integer(
    "KEEP_ALIVE",
    "Seconds that an idle connection is kept (1 to 3600, default 75). "
    "Longer than the 60 s of the usual load balancers.",
    default=75,
    minimum=1,
    maximum=3600,
)

MAX_WAIT: Final = read.integer(
    "MAX_WAIT",
    "Seconds that a request may wait for its turn, or for a connection to PostgreSQL (1 to 60, "
    "default 1). If it would wait longer, the response is 503: the client would not wait either.",
    default=1,
    minimum=1,
    maximum=60,
)
STAFF_IN_FLIGHT: Final = read.integer(
    "STAFF_IN_FLIGHT",
    "Requests of staff that a worker works on at once (1 to 1000, default 20). "
    "Each has a thread and a connection of its own.",
    default=20,
    minimum=1,
    maximum=1000,
)

STATIC_IN_FLIGHT: Final = read.integer(
    "STATIC_IN_FLIGHT",
    "Static files that a worker sends at once (1 to 1000, default 100). "
    "Each has a thread while it is read.",
    default=100,
    minimum=1,
    maximum=1000,
)

DATABASE_CONNECT_TIMEOUT: Final = read.integer(
    "DATABASE_CONNECT_TIMEOUT",
    "Seconds to wait for PostgreSQL to accept a connection (1 to 60, default 3). It takes 10 ms.",
    default=3,
    minimum=1,
    maximum=60,
)
DATABASE_SILENCE: Final = read.integer(
    "DATABASE_SILENCE",
    "Seconds without a sign of life from the other end after which a connection to PostgreSQL "
    "counts as lost (2 to 3600, default 30). Nobody tells of a network that is cut.",
    default=30,
    minimum=2,
    maximum=3600,
)
STATEMENT_TIMEOUT: Final = read.integer(
    "STATEMENT_TIMEOUT",
    "Seconds after which PostgreSQL gives a statement up (1 to 600, default 5). "
    "Each of ours takes milliseconds.",
    default=5,
    minimum=1,
    maximum=600,
)
PAGE_SIZE: Final = read.integer(
    "PAGE_SIZE",
    "Items on a page of a list for which no limit was asked (1 to 1000, default 50). 10 KiB.",
    default=50,
    minimum=1,
    maximum=1000,
)
PAGE_SIZE_MAX: Final = read.integer(
    "PAGE_SIZE_MAX",
    "The most items on a page of a list (1 to 1000, default 100). 20 KiB, and 1 ms to write them.",
    default=100,
    minimum=1,
    maximum=1000,
)

WORKER_TIMEOUT: Final = read.integer(
    "WORKER_TIMEOUT",
    "Seconds after which one of several workers is killed and replaced whose event loop stands "
    "still, or, while others serve, that does not start (5 to 600, default 15). "
    "A start takes 1 to 5.",
    default=15,
    minimum=5,
    maximum=600,
)
SHUTDOWN_NOTICE: Final = read.integer(
    "SHUTDOWN_NOTICE",
    'Seconds between "not ready" and the end of accepting (0 to 600, default 2). '
    "For a balancer to notice.",
    default=2,
    minimum=0,
    maximum=600,
)
SHUTDOWN_TIMEOUT: Final = read.integer(
    "SHUTDOWN_TIMEOUT",
    "Seconds that requests in flight have to finish then (1 to 600, default 12). "
    "ANSWER_TIMEOUT, and cancelling.",
    default=12,
    minimum=1,
    maximum=600,
)

read.require(
    "TOKEN_BODY_MAX_BYTES", TOKEN_BODY_MAX_BYTES <= BODY_MAX_BYTES, "must be at most BODY_MAX_BYTES"
)
read.require(
    "BODIES_MAX_BYTES", BODIES_MAX_BYTES >= BODY_MAX_BYTES, "must be at least BODY_MAX_BYTES"
)
read.require("PAGE_SIZE", PAGE_SIZE <= PAGE_SIZE_MAX, "must be at most PAGE_SIZE_MAX")
read.require(
    "ANSWER_TIMEOUT",
    ANSWER_TIMEOUT > MAX_WAIT + STATEMENT_TIMEOUT,
    "must be more than MAX_WAIT and STATEMENT_TIMEOUT together",
)
read.require(
    "SHUTDOWN_TIMEOUT", SHUTDOWN_TIMEOUT > ANSWER_TIMEOUT, "must be more than ANSWER_TIMEOUT"
)

VARIABLES: Final = read.finish()
"""Name and description of each variable, in the order of this file."""
