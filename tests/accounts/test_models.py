"""How the rows of accounts call themselves where staff read it."""

from accounts.models import ApiSession, SignInAttempt, User


def test_a_user_without_an_email_is_called_by_its_id() -> None:
    assert str(User(pk=7)) == "user 7"
    assert str(User(pk=7, email="ann@example.com")) == "ann@example.com"


def test_a_session_is_called_by_its_id() -> None:
    assert str(ApiSession(pk=8)) == "session 8"


def test_an_attempt_is_called_by_its_id() -> None:
    assert str(SignInAttempt(pk=9)) == "attempt 9"
