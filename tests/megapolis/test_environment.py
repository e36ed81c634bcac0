import re
import runpy
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from megapolis import dotenv, environment


def strong(name: str) -> str:
    """A good secret that is the same in each process of a test run."""
    return sha256(name.encode()).hexdigest()


PRODUCTION = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": strong("sessions"),
    "JWT_SECRET_KEY": strong("tokens"),
    "ALLOWED_HOSTS": "api.example.com",
    "DATABASE_URL": "postgresql://megapolis:s3cret@db.example.com:5432/megapolis",
    "SUPABASE_URL": "https://project.example.com",
}
DEVELOPMENT = {
    "ENVIRONMENT": "development",
    "SECRET_KEY": strong("sessions"),
    "JWT_SECRET_KEY": strong("tokens"),
}
TEST = {"ENVIRONMENT": "test"}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`load(PRODUCTION, LOG_LEVEL="DEBUG")` runs the module with these variables and no others."""

    def run(variables: Mapping[str, str], **changes: str) -> SimpleNamespace:
        source = {**variables, **changes}
        monkeypatch.setattr(dotenv, "gather", lambda process, file: source)
        assert environment.__file__
        return SimpleNamespace(**runpy.run_path(environment.__file__))

    return run


@pytest.fixture
def problems(load: Any) -> Any:
    """`problems(PRODUCTION, …)` gives the lines of the refusal, without its heading."""

    def run(variables: Mapping[str, str], **changes: str) -> list[str]:
        with pytest.raises(ImproperlyConfigured) as refusal:
            load(variables, **changes)
        return [line.strip() for line in str(refusal.value).splitlines()[1:]]

    return run


class TestEnvironmentName:
    @pytest.mark.parametrize("variables", [DEVELOPMENT, TEST, PRODUCTION])
    def test_is_taken_as_given(self, load: Any, variables: dict[str, str]) -> None:
        assert load(variables).ENVIRONMENT == variables["ENVIRONMENT"]

    def test_counts_as_production_when_unset(self, load: Any) -> None:
        assert load(PRODUCTION, ENVIRONMENT="").ENVIRONMENT == "production"

    @pytest.mark.parametrize("name", ["Development", "prod", "testing", "dev"])
    def test_is_refused_when_misspelt(self, problems: Any, name: str) -> None:
        found = problems({"ENVIRONMENT": name})
        assert found[0] == "ENVIRONMENT must be development, test or production"
        assert "DATABASE_URL is missing" in found


class TestDefaults:
    def test_are_those_that_the_descriptions_say(self, load: Any) -> None:
        loaded = load(PRODUCTION)
        assert loaded.DATABASE_POOL_SIZE == 10
        assert loaded.DATABASE_PREPARED_STATEMENTS is True
        assert loaded.EXCHANGE_LIMIT_PER_MINUTE == 30
        assert loaded.JWT_LIFETIME_DAYS == 30
        assert loaded.JWT_SECRET_KEY_FALLBACKS == ()
        assert loaded.CORS_ALLOWED_ORIGINS == ()
        assert loaded.TRUSTED_PROXIES == ()
        assert loaded.SUPABASE_ALLOW_UNVERIFIED is False
        assert loaded.SUPABASE_REQUIRE_AAL2 == "off"
        assert loaded.ADMIN_ENABLED is True
        assert loaded.ACCESS_LOG is True
        assert loaded.LOG_LEVEL == "INFO"

    def test_of_production_are_careful(self, load: Any) -> None:
        loaded = load(PRODUCTION)
        assert loaded.API_DOCS_ENABLED is False
        assert environment.BASE_DIR / "logs" == loaded.LOG_DIR

    def test_of_development_are_comfortable(self, load: Any) -> None:
        loaded = load(DEVELOPMENT)
        assert loaded.API_DOCS_ENABLED is True
        assert loaded.LOG_DIR is None
        assert loaded.DATABASE_URL == ""
        assert loaded.SUPABASE_URL == ""
        assert loaded.ALLOWED_HOSTS == ("localhost", "127.0.0.1", "[::1]")

    def test_give_tests_secrets_of_their_own(self, load: Any) -> None:
        first, second = load(TEST), load(TEST)
        assert len({first.SECRET_KEY, first.JWT_SECRET_KEY, second.SECRET_KEY}) == 3

    def test_stand_in_for_empty_variables(self, load: Any) -> None:
        assert load(PRODUCTION, LOG_LEVEL="", ACCESS_LOG=" ").LOG_LEVEL == "INFO"


class TestValues:
    @pytest.mark.parametrize("value", ["off", "staff", "all"])
    def test_of_a_choice_are_these_words(self, load: Any, value: str) -> None:
        assert load(PRODUCTION, SUPABASE_REQUIRE_AAL2=value).SUPABASE_REQUIRE_AAL2 == value

    @pytest.mark.parametrize(
        "value", ["Staff", "ALL", "on", "true", "1", "0", "false", "none", "stuff", "staff,all"]
    )
    @pytest.mark.parametrize("variables", [DEVELOPMENT, TEST, PRODUCTION])
    def test_of_a_choice_are_refused_when_misspelt(
        self, problems: Any, value: str, variables: dict[str, str]
    ) -> None:
        assert problems(variables, SUPABASE_REQUIRE_AAL2=value) == [
            "SUPABASE_REQUIRE_AAL2 must be one of off, staff, all"
        ]

    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            ("true", True),
            ("TRUE", True),
            ("1", True),
            ("false", False),
            ("False", False),
            ("0", False),
        ],
    )
    def test_booleans(self, load: Any, given: str, meant: bool) -> None:
        assert load(PRODUCTION, ADMIN_ENABLED=given).ADMIN_ENABLED is meant

    def test_lists_are_split_at_commas_and_trimmed(self, load: Any) -> None:
        loaded = load(PRODUCTION, ALLOWED_HOSTS="a.example.com, .example.org,,[::1] ")
        assert loaded.ALLOWED_HOSTS == ("a.example.com", ".example.org", "[::1]")

    def test_the_supabase_url_loses_its_slash(self, load: Any) -> None:
        loaded = load(PRODUCTION, SUPABASE_URL="https://project.example.com/")
        assert loaded.SUPABASE_URL == "https://project.example.com"

    def test_a_relative_log_folder_is_in_the_checkout(self, load: Any) -> None:
        assert load(TEST, LOG_DIR="here/logs").LOG_DIR == environment.BASE_DIR / "here" / "logs"
        assert load(TEST, LOG_DIR="/var/log/api").LOG_DIR == Path("/var/log/api")

    def test_secrets_are_taken_literally(self, load: Any) -> None:
        secret = r"$SECRET_KEY \$ # 'quoted' " + strong("other")
        assert load(PRODUCTION, JWT_SECRET_KEY=secret).JWT_SECRET_KEY == secret

    @pytest.mark.parametrize(
        "url",
        [
            "postgres://user@localhost/name",
            "postgresql://user:p%40ss@[::1]:5432/name?sslmode=require",
            "postgresql:///name?host=/run/postgresql",
        ],
    )
    def test_database_urls(self, load: Any, url: str) -> None:
        assert load(PRODUCTION, DATABASE_URL=url).DATABASE_URL == url

    def test_networks(self, load: Any) -> None:
        loaded = load(PRODUCTION, TRUSTED_PROXIES="10.0.0.0/8, 192.0.2.1, fd00::/8")
        assert loaded.TRUSTED_PROXIES == ("10.0.0.0/8", "192.0.2.1", "fd00::/8")

    @pytest.mark.parametrize(
        "proxies",
        [
            *("10.0.0.0/8", "172.16.0.0/12,192.168.0.0/16", "127.0.0.1,::1", "0.0.0.0"),
            *("fc00::/7", "fd00::/8", "2400:cb00::/32", "104.16.0.0/13", "::ffff:10.0.0.0/104"),
            "10.0.0.0/8,10.1.0.0/16,10.0.0.1",
        ],
    )
    def test_networks_of_proxies_are_trusted_in_production(self, load: Any, proxies: str) -> None:
        assert load(PRODUCTION, TRUSTED_PROXIES=proxies).TRUSTED_PROXIES == tuple(
            proxies.split(",")
        )

    @pytest.mark.parametrize("proxies", ["0.0.0.0/0", "::/0"])
    def test_anybody_may_be_trusted_in_development(self, load: Any, proxies: str) -> None:
        assert load(DEVELOPMENT, TRUSTED_PROXIES=proxies).TRUSTED_PROXIES == (proxies,)

    def test_development_may_use_plain_http(self, load: Any) -> None:
        loaded = load(
            DEVELOPMENT,
            SUPABASE_URL="http://localhost:54321",
            CORS_ALLOWED_ORIGINS="http://localhost:3000",
            SUPABASE_ALLOW_UNVERIFIED="true",
        )
        assert loaded.SUPABASE_URL == "http://localhost:54321"
        assert loaded.CORS_ALLOWED_ORIGINS == ("http://localhost:3000",)
        assert loaded.SUPABASE_ALLOW_UNVERIFIED is True


class TestProblems:
    def test_are_named_all_at_once(self, problems: Any) -> None:
        found = problems({}, LOG_LEVEL="loud", JWT_LIFETIME_DAYS="0")
        assert [line.split()[0] for line in found] == [
            "SECRET_KEY",
            "ALLOWED_HOSTS",
            "DATABASE_URL",
            "SUPABASE_URL",
            "JWT_SECRET_KEY",
            "JWT_LIFETIME_DAYS",
            "LOG_LEVEL",
        ]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("SECRET_KEY", "short-but-secret"),
            ("JWT_SECRET_KEY", "a" * 64),
            ("JWT_SECRET_KEY", "abcd" * 16),
            ("JWT_SECRET_KEY", "please-change-me-" + strong("other")),
            ("JWT_SECRET_KEY", "CHANGE-ME-" + strong("other")),
            ("JWT_SECRET_KEY_FALLBACKS", strong("other") + ",short"),
            ("SUPABASE_JWT_SECRET", "short"),
            ("SUPABASE_SERVICE_ROLE_KEY", "sb_secret_short"),
            ("SUPABASE_URL", "http://project.example.com"),
            ("SUPABASE_URL", "https://project.example.com/auth/v1"),
            ("SUPABASE_URL", "https://user:pass@project.example.com"),
            ("SUPABASE_URL", "project.example.com"),
            ("CORS_ALLOWED_ORIGINS", "*"),
            ("CORS_ALLOWED_ORIGINS", "http://app.example.com"),
            ("CORS_ALLOWED_ORIGINS", "https://app.example.com/"),
            ("CORS_ALLOWED_ORIGINS", "https://app.example.com,null"),
            ("ALLOWED_HOSTS", "*"),
            ("ALLOWED_HOSTS", "api.example.com,*"),
            ("ALLOWED_HOSTS", "https://api.example.com"),
            ("ALLOWED_HOSTS", "api.example.com:8000"),
            ("SUPABASE_ALLOW_UNVERIFIED", "true"),
            ("DATABASE_URL", "mysql://user:pass@host/name"),
            ("DATABASE_URL", "sqlite:///file"),
            ("DATABASE_URL", "postgresql://user:pass@host:port/name"),
            ("DATABASE_URL", "postgresql://user:pass@host:5432/"),
            ("DATABASE_URL", "postgresql://user:pass@/name"),
            ("DATABASE_URL", "postgresql://user:pass@host/name?no_such_option=1"),
            ("DATABASE_URL", "postgresql://user:pass%00word@host/name"),
            ("DATABASE_URL", "postgresql://user:pass@[::1/name"),
            ("DATABASE_POOL_SIZE", "0"),
            ("DATABASE_POOL_SIZE", "501"),
            ("DATABASE_POOL_SIZE", "1_0"),
            ("DATABASE_POOL_SIZE", "١٢"),
            ("JWT_LIFETIME_DAYS", "-1"),
            ("JWT_LIFETIME_DAYS", "366"),
            ("EXCHANGE_LIMIT_PER_MINUTE", "1.5"),
            ("TRUSTED_PROXIES", "10.0.0.0/33"),
            ("TRUSTED_PROXIES", "proxy.example.com"),
            ("TRUSTED_PROXIES", "10.0.0.1/8"),
            ("TRUSTED_PROXIES", "0.0.0.0/0"),
            ("TRUSTED_PROXIES", "::/0"),
            ("TRUSTED_PROXIES", "10.0.0.0/8,0.0.0.0/0"),
            ("TRUSTED_PROXIES", "0.0.0.0/1,128.0.0.0/1"),
            ("TRUSTED_PROXIES", "128.0.0.0/7"),
            ("TRUSTED_PROXIES", "2000::/3"),
            ("TRUSTED_PROXIES", "::/1, 8000::/1"),
            ("TRUSTED_PROXIES", "2600::/12"),
            ("TRUSTED_PROXIES", "::ffff:0:0/96"),
            ("TRUSTED_PROXIES", "::/64"),
            ("TRUSTED_PROXIES", "::ffff:0:0/97,::ffff:128.0.0.0/97"),
            ("TRUSTED_PROXIES", ",".join(f"{n}.0.0.0/8" for n in range(256))),
            ("TRUSTED_PROXIES", "*"),
            ("ALLOWED_HOSTS", ".com"),
            ("ALLOWED_HOSTS", "api.example.com,.org"),
            ("ALLOWED_HOSTS", "."),
            ("ALLOWED_HOSTS", "*.example.com"),
            ("CORS_ALLOWED_ORIGINS", "https://*"),
            ("CORS_ALLOWED_ORIGINS", "https://*.example.com"),
            ("CORS_ALLOWED_ORIGINS", "https://.example.com"),
            ("ADMIN_ENABLED", "yes"),
            ("API_DOCS_ENABLED", "on"),
            ("LOG_LEVEL", "VERBOSE"),
            ("LOG_DIR", "logs\x00"),
            ("SECRET_KEY", strong("other") + "\n"),
            ("SECRET_KEY", strong("other") + "\udcff"),
        ],
    )
    def test_of_one_variable_name_it(self, problems: Any, name: str, value: str) -> None:
        found = problems(PRODUCTION, **{name: value})
        assert {line.split()[0] for line in found} == {name}

    def test_say_what_to_write_instead_of_the_whole_internet(self, problems: Any) -> None:
        (problem,) = problems(PRODUCTION, TRUSTED_PROXIES="0.0.0.0/0")
        assert "Name your proxies, such as 10.0.0.5 or 10.0.0.0/8" in problem

    @pytest.mark.parametrize("name", environment.VARIABLES)
    def test_never_show_a_value(self, problems: Any, name: str) -> None:
        found = problems(PRODUCTION, **{name: "hunter2\x7f"})
        assert f"{name} contains control characters" in found
        assert "hunter2" not in "".join(found)

    @pytest.mark.parametrize(
        "name", ["SECRET_KEY", "JWT_SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "SUPABASE_URL"]
    )
    def test_of_production_include_what_is_missing(self, problems: Any, name: str) -> None:
        assert problems(PRODUCTION, **{name: ""})[0].startswith(f"{name} is missing")

    def test_of_development_include_missing_secrets(self, problems: Any) -> None:
        found = problems({"ENVIRONMENT": "development"})
        assert [line.split()[0] for line in found] == ["SECRET_KEY", "JWT_SECRET_KEY"]

    @pytest.mark.parametrize("variables", [TEST, PRODUCTION])
    def test_include_unverified_tokens_outside_development(
        self, problems: Any, variables: dict[str, str]
    ) -> None:
        assert problems(variables, SUPABASE_ALLOW_UNVERIFIED="1") == [
            "SUPABASE_ALLOW_UNVERIFIED may be true only with ENVIRONMENT=development"
        ]


class TestEqualSecrets:
    @pytest.mark.parametrize("variables", [DEVELOPMENT, TEST, PRODUCTION])
    @pytest.mark.parametrize("ours", ["JWT_SECRET_KEY", "JWT_SECRET_KEY_FALLBACKS"])
    @pytest.mark.parametrize("theirs", ["SUPABASE_JWT_SECRET", "SUPABASE_SERVICE_ROLE_KEY"])
    def test_of_ours_and_supabase_are_refused_everywhere(
        self, problems: Any, variables: dict[str, str], ours: str, theirs: str
    ) -> None:
        secret = strong("other")
        found = problems(variables, **{ours: secret, theirs: secret})
        assert found == [f"{ours} must differ from {theirs}"]

    def test_are_refused_in_production(self, problems: Any) -> None:
        found = problems(PRODUCTION, JWT_SECRET_KEY=PRODUCTION["SECRET_KEY"])
        assert found == ["JWT_SECRET_KEY must differ from SECRET_KEY"]

    def test_include_a_fallback_that_is_the_present_key(self, problems: Any) -> None:
        found = problems(PRODUCTION, JWT_SECRET_KEY_FALLBACKS=PRODUCTION["JWT_SECRET_KEY"])
        assert found == ["JWT_SECRET_KEY_FALLBACKS must differ from JWT_SECRET_KEY"]

    def test_may_be_used_in_development(self, load: Any) -> None:
        assert load(DEVELOPMENT, SECRET_KEY="dev", JWT_SECRET_KEY="dev").SECRET_KEY == "dev"


class TestExample:
    """`.env.example` lists every variable with its description, in the order of the module."""

    def test_is_complete(self) -> None:
        text = (environment.BASE_DIR / ".env.example").read_text()
        listed = re.findall(r"^# (.+)\n([A-Z0-9_]+)=", text, re.MULTILINE)
        assert [(name, description) for description, name in listed] == list(
            environment.VARIABLES.items()
        )

    def test_holds_no_secret(self) -> None:
        text = (environment.BASE_DIR / ".env.example").read_text()
        assert re.findall(r"=(.+)", text) == ["development"]
