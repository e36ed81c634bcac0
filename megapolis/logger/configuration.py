"""The one logger of the project.

    from megapolis.logger import logger

    logger.info("widget {} created", widget.id)

It is Loguru's. Standard logging (Django, uvicorn, psycopg) is routed into it. Each record carries
the id of the request it belongs to; secrets and tokens are replaced before anything is written.
"""

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from loguru import logger

from megapolis import environment
from megapolis.logger.file import LogFile
from megapolis.logger.redaction import clean, redact
from megapolis.logger.tracebacks import format_traceback

if TYPE_CHECKING:
    from loguru import Message, Record

__all__ = ["configure_logging", "log_access", "logger", "redact", "request_id"]

request_id: ContextVar[str] = ContextVar("request_id", default="-")

LINE = (
    "<green>{time:YYYY-MM-DD HH:mm:ss.SSS}</green> <level>{level: <8}</level> "
    "<cyan>{extra[request_id]}</cyan> {name}: <level>{message}</level>"
)
QUIET = ("asyncio", "hpack", "httpcore", "httpx")
FILE_BYTES, FILES = 50_000_000, 10
ACCESS_LEVEL = "INFO"
PATH_SHOWN = 1024
"""Code points of a path in the line of its request, whose end is worth more."""


access_file: LogFile | None = None


def log_access(method: str | None, path: str, status: int, milliseconds: float) -> None:
    """Write the line of a request: to the file only, where there is one.

    There it goes past Loguru, which would take a tenth to a quarter of the rate. The event loop
    must be running.
    """
    message = f"{method} {clean(path, shown=PATH_SHOWN)} {status} {milliseconds:.1f} ms"
    if access_file is None:
        logger.opt(depth=1).log(ACCESS_LEVEL, "{}", message)
        return
    event = {
        "time": datetime.now(UTC),
        "level": ACCESS_LEVEL,
        "logger": "access",
        "message": message,
        "request_id": request_id.get(),
    }
    access_file.write_soon(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))


def configure_logging() -> None:
    """Send everything to stderr, and with LOG_DIR to JSON files as well. Safe to repeat."""
    global access_file
    logger.configure(handlers=[], patcher=prepare)
    level = environment.LOG_LEVEL
    logger.add(
        write_to_stderr,
        level=level,
        format=as_line,
        colorize=sys.stderr.isatty(),
        backtrace=False,
        diagnose=False,
    )
    file = open_file(environment.LOG_DIR) if environment.LOG_DIR else None
    if file is not None:
        logger.add(file, level=level, format=as_json, backtrace=False, diagnose=False)
    is_logged = logger.level(level).no <= logger.level(ACCESS_LEVEL).no
    access_file = file if is_logged else None
    logging.root.handlers = [InterceptHandler()]
    logging.root.setLevel(logger.level(level).no)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    sys.excepthook = write_uncaught


def open_file(folder: Path) -> LogFile | None:
    """The log file; if the folder takes none, that is said and the service goes on without."""
    try:
        return LogFile(folder / "megapolis.log", max_bytes=FILE_BYTES, kept=FILES)
    except OSError as error:
        sys.stderr.write(f"No log files: LOG_DIR cannot be written ({error.strerror}).\n")
        return None


def prepare(record: "Record") -> None:
    """Give the record its request id, and make its message one short line without secrets."""
    record["extra"].setdefault("request_id", request_id.get())
    record["message"] = clean(record["message"])


def as_line(_: "Record") -> str:
    """Return Loguru's format of a line; the traceback comes from `write_to_stderr`."""
    return f"{LINE}\n"


def write_to_stderr(message: "Message") -> None:
    """Write the line, and the traceback if there is one: in development with variables."""
    exception = message.record["exception"]
    with_variables = environment.ENVIRONMENT == "development"
    trace = format_traceback(exception, with_variables=with_variables) if exception else ""
    sys.stderr.write(message + trace)


def write_uncaught(*exception: Any) -> None:
    """Write what nothing caught, as Python does."""
    sys.stderr.write(format_traceback(exception))


def as_json(record: "Record") -> str:
    """A Loguru format: one JSON object per line."""
    event = {
        "time": record["time"].astimezone(UTC).isoformat(),
        "level": record["level"].name,
        "logger": record["name"],
        "message": record["message"],
        **{key: clean(str(value)) for key, value in record["extra"].items() if key != "json"},
    }
    if record["exception"]:
        event["exception"] = format_traceback(record["exception"])
    record["extra"]["json"] = orjson.dumps(event, default=str).decode()
    return "{extra[json]}\n"


class InterceptHandler(logging.Handler):
    """Hands the records of standard logging to Loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a bad log call must not break what it reports on
            message = f"{record.msg} (logged with other arguments than it has places for)"
        known = record.levelname in logging.getLevelNamesMapping()
        level = record.levelname if known else record.levelno
        exception = record.exc_info if record.exc_info and record.exc_info[0] else None

        def place(target: "Record") -> None:
            target["name"], target["line"] = record.name, record.lineno
            target["function"] = record.funcName

        logger.patch(place).opt(exception=exception).log(level, message)
