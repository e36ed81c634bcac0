import logging
from pathlib import Path
from typing import Any

import pytest

from megapolis import environment
from megapolis.logger import configure_logging, logger, request_id
from megapolis.logger.configuration import redact
from tests.megapolis.conftest import events

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


pytestmark = pytest.mark.usefixtures("logging_as_it_was")


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Any:
    """`stderr()` gives the lines written so far."""
    configure_logging()

    def lines() -> list[str]:
        return capsys.readouterr().err.splitlines()

    return lines


class TestLine:
    def test_names_time_level_request_source_and_message(self, stderr: Any) -> None:
        token = request_id.set("abc-123")
        logger.warning("{} is {}", "tea", "hot")
        request_id.reset(token)
        (line,) = stderr()
        assert line.endswith(f"WARNING  abc-123 {__name__}: tea is hot")

    def test_has_a_dash_outside_a_request(self, stderr: Any) -> None:
        logger.info("started")
        assert " - " in stderr()[0]

    def test_leaves_braces_in_arguments_alone(self, stderr: Any) -> None:
        logger.info("{}", "{missing} <red> {0}")
        assert stderr()[0].endswith("{missing} <red> {0}")

    @pytest.mark.parametrize(
        ("character", "shown"),
        [("\n", r"\n"), ("\r", r"\r"), ("\x1b", r"\x1b"), ("\0", r"\x00"), ("\u2028", r"\u2028")],
    )
    def test_stays_one_line_without_control_characters(
        self, stderr: Any, character: str, shown: str
    ) -> None:
        logger.info("GET /{}forged", character)
        (line,) = stderr()
        assert line.endswith(f"GET /{shown}forged")

    def test_can_hold_what_is_no_text(self, stderr: Any) -> None:
        logger.info("name \ud800")
        assert stderr()[0].endswith(r"name \ud800")

    def test_keeps_the_letters_of_every_language(self, stderr: Any) -> None:
        logger.info("Grüße 東京")
        assert stderr()[0].endswith("Grüße 東京")

    def test_respects_the_level(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "LOG_LEVEL", "WARNING")
        configure_logging()
        logger.info("quiet")
        logging.getLogger("django").info("quiet")
        assert capsys.readouterr().err == ""

    def test_is_written_once_however_often_logging_is_configured(self, stderr: Any) -> None:
        configure_logging()
        logger.info("once")
        logging.getLogger("django").error("twice?")
        assert len(stderr()) == 2


class TestStandardLogging:
    def test_is_routed_here_with_its_own_name(self, stderr: Any) -> None:
        logging.getLogger("django.request").error("%s failed", "GET /")
        assert stderr()[0].endswith("ERROR    - django.request: GET / failed")

    def test_brings_its_traceback(self, stderr: Any) -> None:
        try:
            raise ValueError("wrong")
        except ValueError:
            logging.getLogger("uvicorn.error").exception("broken")
        assert stderr()[-1] == "ValueError: wrong"

    def test_may_have_no_exception_to_show(self, stderr: Any) -> None:
        logging.getLogger("django").exception("nothing raised")  # noqa: LOG004
        assert len(stderr()) == 1

    def test_may_use_levels_of_its_own(self, stderr: Any) -> None:
        logging.getLogger("django").log(35, "between")
        assert "Level 35 - django: between" in stderr()[0]

    def test_survives_a_call_with_the_wrong_arguments(
        self, stderr: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logging, "raiseExceptions", False)  # by which pytest's handler fails
        logging.getLogger("django").error("%d things", "some")
        assert "%d things" in stderr()[0]

    def test_of_chatty_libraries_starts_at_warning(self, stderr: Any) -> None:
        logging.getLogger("httpx").info("HTTP Request: GET https://example.com")
        logging.getLogger("httpcore").warning("no connection")
        (line,) = stderr()
        assert "no connection" in line


class TestRedaction:
    @pytest.mark.parametrize(
        ("text", "redacted"),
        [
            (f"token {TOKEN} refused", "token *** refused"),
            (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer ***"),
            ("{'authorization': 'bearer abc.DEF-1='}", "{'authorization': 'bearer ***'}"),
            ("key sb_secret_aB3-_x.", "key ***."),
            ("key sb_publishable_aB3", "key ***"),
            ("password=hunter2&next=/", "password=***&next=/"),
            ("host=db password='hunter 2' user=me", "host=db password=*** user=me"),
            ('{"Password": "hunter2", "a": 1}', '{"Password": ***, "a": 1}'),
            ("postgresql://me:hunter2@db/name", "postgresql://***@db/name"),
            ("postgresql://me:hun@ter2@db:5432/name", "postgresql://***@db:5432/name"),
        ],
    )
    def test_hides_what_must_not_be_read(self, text: str, redacted: str) -> None:
        assert redact(text) == redacted

    @pytest.mark.parametrize("name", ["SECRET_KEY", "JWT_SECRET_KEY"])
    def test_hides_the_configured_secrets(self, name: str) -> None:
        assert redact(f"signed with {getattr(environment, name)}!") == "signed with ***!"

    @pytest.mark.parametrize(
        "text",
        [
            "GET /widgets/?limit=50 200 3.4 ms",
            "see https://example.com:8000/a?to=me@example.com",
            "user me@example.com signed in",
            "a ring-bearer",
        ],
    )
    def test_leaves_ordinary_text_alone(self, text: str) -> None:
        assert redact(text) == text

    def test_covers_messages(self, stderr: Any) -> None:
        logger.info("token {}", TOKEN)
        assert stderr()[0].endswith("token ***")

    def test_covers_tracebacks_and_chained_exceptions(self, stderr: Any) -> None:
        try:
            try:
                raise ValueError(TOKEN)
            except ValueError as error:
                raise RuntimeError("password=hunter2") from error
        except RuntimeError:
            logger.exception("broken")
        text = "\n".join(stderr())
        assert "RuntimeError: password=***" in text
        assert TOKEN not in text
        assert "hunter2" not in text

    def test_covers_files(self, log_folder: Path) -> None:
        try:
            raise ValueError(f"Bearer {TOKEN}")
        except ValueError:
            logger.bind(header=TOKEN).exception("got {}", TOKEN)
        assert TOKEN not in (log_folder / "megapolis.log").read_text()
        assert events(log_folder)[0]["header"] == "***"


class TestDiagnosis:
    @staticmethod
    def fail() -> None:
        local = "the value of a variable"
        try:
            raise ValueError(len(local))
        except ValueError:
            logger.exception("broken")

    def test_shows_no_variables_outside_development(self, stderr: Any) -> None:
        self.fail()
        assert "the value of a variable" not in "\n".join(stderr())

    def test_shows_variables_in_development(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "ENVIRONMENT", "development")
        configure_logging()
        self.fail()
        assert "'the value of a variable'" in capsys.readouterr().err
