"""How the rows of accounts call themselves where staff read it, and how emails are spelt."""

import pytest

from accounts.models import EMAIL_MAX_LENGTH, ApiSession, SignInAttempt, User, normalize_email
from tests.worst_cases import MARKS, assert_quick


def test_a_user_without_an_email_is_called_by_its_id() -> None:
    assert str(User(pk=7)) == "user 7"
    assert str(User(pk=7, email="ann@example.com")) == "ann@example.com"


def test_a_session_is_called_by_its_id() -> None:
    assert str(ApiSession(pk=8)) == "session 8"


def test_an_attempt_is_called_by_its_id() -> None:
    assert str(SignInAttempt(pk=9)) == "attempt 9"


@pytest.mark.parametrize("email", [MARKS, f"{MARKS}@example.com", f"ada@{MARKS}", "\ufdfa" * 300])
def test_what_is_too_long_for_an_address_is_not_normalised(email: str) -> None:
    assert normalize_email(email) == email
    assert_quick(lambda: normalize_email(email))


def test_an_address_is_measured_without_the_blanks_around_it() -> None:
    address = "a" * (EMAIL_MAX_LENGTH - len("@example.com")) + "@example.com"
    assert normalize_email(f"{' ' * 999}{address.upper()}\u3000") == address
