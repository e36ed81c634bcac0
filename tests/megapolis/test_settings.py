"""Settings that depend on what the environment says."""

from ast import literal_eval

from tests.processes import manage, production

SHOW = "from django.conf import settings; print(settings.{})"


def test_no_header_is_believed_about_the_scheme_whichever_proxies_are_trusted() -> None:
    """The server has looked at it already, and it knows who sent it."""
    given = production() | {"TRUSTED_PROXIES": "10.0.0.0/8"}

    assert show("SECURE_PROXY_SSL_HEADER", given) == "None"


def test_a_database_that_falls_silent_is_given_up_as_the_limits_and_the_address_say() -> None:
    url = "postgresql://megapolis:password@127.0.0.1:1/megapolis?tcp_user_timeout=5000"
    given = production() | {"DATABASE_URL": url, "DATABASE_SILENCE": "12"}

    assert literal_eval(show("DATABASES['default']['OPTIONS']", given)) == {
        "connect_timeout": 3,
        "keepalives_idle": 6,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 5000,
    }


def show(setting: str, given: dict[str, str]) -> str:
    shown = manage("shell", "--no-imports", "-c", SHOW.format(setting), given=given)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout.strip()
