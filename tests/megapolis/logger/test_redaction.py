"""What is logged of a text: its beginning, in one line, and nothing of a secret."""

import pytest

from megapolis import environment
from megapolis.logger.redaction import CUT, LOOK_AHEAD, SHOWN, clean, redact
from tests.worst_cases import assert_quick

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
LONG_TOKEN = f"eyJhbGciOiJIUzI1NiJ9.{'SECRET' * 1300}.{'SIGNATURE' * 5}"
SECRETS = {
    "a token": (TOKEN, TOKEN[12:]),
    "the longest token": (LONG_TOKEN, "SECRET"),
    "the header of a token": ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "UzI1NiIs"),
    "a key": ("sb_secret_" + "Zebra" * 8, "Zebra"),
    "a bearer": ("Bearer " + "Zebra" * 2000, "Zebra"),
    "a password": ("password=" + "Zebra" * 2000, "Zebra"),
    "a password in quotes": ("password='" + "Zebra " * 20 + "'", "Zebra"),
    "a password in quotes that are not closed": ('"password": "' + "Zebra " * 9000, "Zebra"),
    "a password with a quote": ('"password": "a\\"Zebra"', "Zebra"),
    "a password of a URL": ("postgresql://me:" + "Zebra" * 50 + "@db/name", "Zebra"),
    "a password of a URL that does not end": ("postgresql://me:" + "Zebra" * 9000, "Zebra"),
    "a configured secret": (environment.JWT_SECRET_KEY, environment.JWT_SECRET_KEY[5:12]),
    "a configured secret as a password": (
        f"password={environment.SECRET_KEY}&a=1",
        environment.SECRET_KEY[-9:],
    ),
}
"""What is hidden, and a part of it that must not be seen."""


class TestClean:
    @pytest.mark.parametrize("name", SECRETS)
    def test_shows_no_part_of_a_secret_wherever_the_text_is_cut(self, name: str) -> None:
        secret, part = SECRETS[name]
        lengths = (0, SHOWN // 2, *range(SHOWN - 60, SHOWN + 3), SHOWN + LOOK_AHEAD - 20)
        for length in lengths:
            for filler in (".", "x ", f"{TOKEN} "):
                before = (filler * length)[:length].rsplit(" ", 1)[0] + " "
                assert part not in clean(before + secret + " behind")

    @pytest.mark.parametrize(
        "text", ["a" * 9999, "eyJ" * 20_000, "\n" * 9999, "\U000e0001" * 999, "\u0300" * 60_000]
    )
    def test_shows_the_beginning_of_a_long_text(self, text: str) -> None:
        cut = clean(text)
        assert len(cut) <= SHOWN
        assert cut.endswith(CUT)
        assert cut.isprintable()

    @pytest.mark.parametrize("text", ["", "a", "a" * SHOWN, "Grüße 東京", "GET / 200 1.0 ms"])
    def test_leaves_a_short_text_whole(self, text: str) -> None:
        assert clean(text) == text

    def test_takes_no_longer_for_a_longer_text(self) -> None:
        assert_quick(lambda: clean("eyJ" * 10_000_000))


class TestRedact:
    @pytest.mark.parametrize(
        ("text", "redacted"),
        [
            ("keyJoin and monkeyJump", "keyJoin and monkeyJump"),
            ("eyJhbGciOiJIUzI1NiJ9", "***"),
            (f"a{TOKEN}b", "a***"),
            (f"{TOKEN} {TOKEN},{TOKEN}", "*** ***,***"),
            ("eyJeyJ.a.b", "***"),
            ('{"password": "a\\"b", "c": 1}', '{"password": ***, "c": 1}'),
            ("password='a", "password=***"),
            ("http://a:8000/b", "http://a:8000/b"),
            pytest.param(f"Bearer {environment.SECRET_KEY}", "Bearer ***", id="a secret"),
        ],
    )
    def test_hides_what_is_secret_and_nothing_else(self, text: str, redacted: str) -> None:
        assert redact(text) == redacted
