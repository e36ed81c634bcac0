"""Tracebacks whose lines are Python's own: what an exception says cannot add any."""

from traceback import TracebackException
from types import TracebackType
from typing import Any

from megapolis.logger.redaction import clean, redact

VALUE_SHOWN = 200
"""Code points of a variable's value that are shown in development."""
TEXTS = ("_str", "msg", "text", "filename")
"""Where a `TracebackException` has what the exception says, and the source of a SyntaxError."""

type ExceptionInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


def format_traceback(exception: ExceptionInfo, *, with_variables: bool = False) -> str:
    """Return the traceback as Python writes it, without secrets.

    The message and the notes of each exception are one line each, and short. With variables, the
    frames of our own code show theirs.
    """
    kind, value, place = exception
    trace = TracebackException(
        kind,  # type: ignore[arg-type] # None is allowed, and written as "NoneType: None"
        value,  # type: ignore[arg-type]
        place,
        capture_locals=with_variables,
    )
    pending = [trace]
    while pending:
        each = pending.pop()
        _make_harmless(each)
        others = (each.__cause__, each.__context__, *(each.exceptions or ()))
        pending += [other for other in others if other]
    return redact("".join(trace.format()))


def _make_harmless(trace: Any) -> None:
    for name in TEXTS:
        text = getattr(trace, name, None)
        if isinstance(text, str):
            setattr(trace, name, clean(text.rstrip("\n")))
    notes = trace.__notes__
    if isinstance(notes, list | tuple):
        trace.__notes__ = [clean(str(note)) for note in notes]
    elif notes is not None:
        trace.__notes__ = [clean(repr(notes))]
    for frame in trace.stack:
        _shorten_variables(frame)


def _shorten_variables(frame: Any) -> None:
    if "site-packages" in frame.filename:
        frame.locals = None
    for name, value in (frame.locals or {}).items():
        frame.locals[name] = clean(value, shown=VALUE_SHOWN)
