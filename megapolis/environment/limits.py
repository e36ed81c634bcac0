"""Every limit of the service, each a variable; `docs/limits.md` says what each does and why.

A name with TIMEOUT, WAIT, ALIVE, SILENCE or NOTICE is in seconds, one with BYTES in bytes; the
others are counts. Seconds are measured by a monotonic clock, so setting the system's clock changes
no limit.
"""

from megapolis.environment.reader import read

KIB, MIB, GIB = 1024, 1024**2, 1024**3

BODY_MAX_BYTES = read.number("BODY_MAX_BYTES", default=MIB, least=KIB, most=100 * MIB)
BODIES_MAX_BYTES = read.number("BODIES_MAX_BYTES", default=64 * MIB, least=MIB, most=10 * GIB)
TOKEN_BODY_MAX_BYTES = read.number("TOKEN_BODY_MAX_BYTES", default=16 * KIB, least=KIB, most=MIB)
HEAD_MAX_BYTES = read.number("HEAD_MAX_BYTES", default=64 * KIB, least=KIB, most=MIB)
HEAD_MAX_FIELDS = read.number("HEAD_MAX_FIELDS", default=100, least=10, most=1000)

RECEIVE_TIMEOUT = read.number("RECEIVE_TIMEOUT", default=15, least=1, most=600)
SEND_TIMEOUT = read.number("SEND_TIMEOUT", default=15, least=1, most=600)
ANSWER_TIMEOUT = read.number("ANSWER_TIMEOUT", default=10, least=1, most=600)
KEEP_ALIVE = read.number("KEEP_ALIVE", default=75, least=1, most=3600)

MAX_WAIT = read.number("MAX_WAIT", default=1, least=1, most=60)
STAFF_IN_FLIGHT = read.number("STAFF_IN_FLIGHT", default=20, least=1, most=1000)
STATIC_IN_FLIGHT = read.number("STATIC_IN_FLIGHT", default=100, least=1, most=1000)

DATABASE_CONNECT_TIMEOUT = read.number("DATABASE_CONNECT_TIMEOUT", default=3, least=1, most=60)
DATABASE_SILENCE = read.number("DATABASE_SILENCE", default=30, least=2, most=3600)
STATEMENT_TIMEOUT = read.number("STATEMENT_TIMEOUT", default=5, least=1, most=600)
PAGE_SIZE = read.number("PAGE_SIZE", default=50, least=1, most=1000)
PAGE_SIZE_MAX = read.number("PAGE_SIZE_MAX", default=100, least=1, most=1000)

WORKER_TIMEOUT = read.number("WORKER_TIMEOUT", default=15, least=5, most=600)
SHUTDOWN_NOTICE = read.number("SHUTDOWN_NOTICE", default=2, least=0, most=600)
SHUTDOWN_TIMEOUT = read.number("SHUTDOWN_TIMEOUT", default=12, least=1, most=600)

if TOKEN_BODY_MAX_BYTES > BODY_MAX_BYTES:
    read.problem("TOKEN_BODY_MAX_BYTES", "must be at most BODY_MAX_BYTES")
if BODIES_MAX_BYTES < BODY_MAX_BYTES:
    read.problem("BODIES_MAX_BYTES", "must be at least BODY_MAX_BYTES")
if PAGE_SIZE > PAGE_SIZE_MAX:
    read.problem("PAGE_SIZE", "must be at most PAGE_SIZE_MAX")
if ANSWER_TIMEOUT <= MAX_WAIT + STATEMENT_TIMEOUT:
    read.problem("ANSWER_TIMEOUT", "must be more than MAX_WAIT and STATEMENT_TIMEOUT together")
if SHUTDOWN_TIMEOUT <= ANSWER_TIMEOUT:
    read.problem("SHUTDOWN_TIMEOUT", "must be more than ANSWER_TIMEOUT")

VARIABLES = tuple(read.names)
"""The name of every limit, in the order of this file."""
