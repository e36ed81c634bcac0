"""Settings that depend on what the environment says."""

from tests.processes import manage, production

SHOW = "from django.conf import settings; print(settings.SECURE_PROXY_SSL_HEADER)"


def test_no_header_is_believed_about_the_scheme_whichever_proxies_are_trusted() -> None:
    """The server has looked at it already, and it knows who sent it."""
    given = production() | {"TRUSTED_PROXIES": "10.0.0.0/8"}

    shown = manage("shell", "--no-imports", "-c", SHOW, given=given)

    assert shown.stdout.strip() == "None", shown.stderr
