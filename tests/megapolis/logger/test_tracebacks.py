"""A traceback has Python's lines, and none that an exception's text makes up."""

import logging
import subprocess
import sys
import warnings
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from megapolis import environment
from megapolis.logger import configure_logging, logger
from tests.megapolis.conftest import events

pytestmark = pytest.mark.usefixtures("logging_as_it_was")

HOSTILE = {
    "a line break": "a\nb",
    "a forged line": "a\r\n2026-01-01 00:00:00.000 ERROR forged",
    "a terminal command": "\x1b[2J\x1b]0;title\x07",
    "a C1 control": "\x9b31m",
    "separators": "\u2028\u2029\x85\x0b\x0c\x1c",
    "bidi controls": "\u202e\u2066\u200f",
    "a NUL": "\0",
    "a tag": "\U000e0041",
    "a lone surrogate": "\ud800",
}


def raise_plain(text: str) -> None:
    raise ValueError(text)


def raise_with_cause(text: str) -> None:
    try:
        raise KeyError(text)
    except KeyError as error:
        raise RuntimeError(text) from error


def raise_with_context(text: str) -> None:
    try:
        raise OSError(text)
    except OSError:
        raise RuntimeError("another")  # noqa: B904 - that is what is tested


def raise_with_notes(text: str) -> None:
    error = ValueError("noted")
    error.add_note(text)
    raise error


def raise_with_odd_notes(text: str) -> None:
    error = ValueError("noted")
    error.__notes__ = text  # type: ignore[assignment] # anybody can
    raise error


def raise_group(text: str) -> None:
    inner = ExceptionGroup(text, [ValueError(text)])
    raise ExceptionGroup("outer", [TypeError(text), inner])


def raise_syntax_error(text: str) -> None:
    raise SyntaxError(text, (text, 1, 1, text))


def raise_name_error(text: str) -> None:
    raise NameError(text, name="loger")


RAISERS = (
    raise_plain,
    raise_with_cause,
    raise_with_context,
    raise_with_notes,
    raise_with_odd_notes,
    raise_group,
    raise_syntax_error,
    raise_name_error,
)


@pytest.fixture(params=RAISERS, ids=lambda raiser: raiser.__name__)
def raiser(request: pytest.FixtureRequest) -> Any:
    return request.param


def assert_harmless(written: str, like: str) -> None:
    """It has as many lines as where the text is harmless, and nothing that cannot be printed."""
    assert all(character.isprintable() or character == "\n" for character in written)
    assert written.count("\n") == like.count("\n")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("where", ["test", "development"])
def test_of_a_clients_text_is_harmless(
    raiser: Any,
    text: str,
    where: str,
    capsys: pytest.CaptureFixture[str],
    log_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environment, "ENVIRONMENT", where)
    configure_logging()
    written = []
    for said in ("harmless", text):
        try:
            raiser(said)
        except Exception:  # noqa: BLE001 - whatever it is
            logger.exception("broken")
        written.append(capsys.readouterr().err)
    assert "Traceback" in written[0]
    assert_harmless(written[1], like=written[0])
    harmless, hostile = (event["exception"] for event in events(log_folder))
    assert_harmless(hostile, like=harmless)


def test_of_standard_logging_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    try:
        raise_with_cause("a\nb\x1b")
    except RuntimeError:
        logging.getLogger("asyncio").exception("Task exception\nwas never retrieved")
    written = capsys.readouterr().err
    assert "RuntimeError: a\\nb\\x1b\n" in written
    assert "Task exception\\nwas never" in written


def test_is_short_where_the_message_is_long(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    try:
        raise_group("eyJ" * 500_000)
    except ExceptionGroup:
        logger.exception("broken")
    assert len(capsys.readouterr().err) < 20_000


def test_a_warning_is_a_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    with warnings.catch_warnings():
        warnings.showwarning = logging._showwarning  # type: ignore[attr-defined] # not pytest's
        warnings.simplefilter("always")
        warnings.warn("a\nb\x1b[2J", stacklevel=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert r"a\nb\x1b[2J" in line


def test_a_wrong_log_call_is_a_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logging.getLogger("django").error("%d things", "a\nb\x1b")
    (line,) = capsys.readouterr().err.splitlines()
    assert "django: %d things" in line


@pytest.mark.parametrize("options", [[], ["-X", "dev"]])
def test_what_nothing_catches_is_harmless(options: list[str]) -> None:
    script = """
        import os, warnings
        os.environ.update(ENVIRONMENT="test")
        from megapolis.logger import configure_logging
        configure_logging()
        warnings.warn("c\\nd\\x1b")
        raise ValueError("a\\nb\\x1b")
    """
    done = subprocess.run(
        [sys.executable, *options, "-W", "always", "-c", dedent(script)],
        cwd=environment.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.endswith("ValueError: a\\nb\\x1b\n")
    assert r"c\nd\x1b" in done.stderr
    assert "\x1b" not in done.stderr
