from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from megapolis import environment


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


class TestEnvironmentName:
    @pytest.mark.parametrize("variables", [DEVELOPMENT, TEST, PRODUCTION])
    def test_is_taken_as_given(self, load: Any, variables: dict[str, str]) -> None:
        assert load(variables).ENVIRONMENT == variables["ENVIRONMENT"]

    def test_counts_as_production_when_unset(self, load: Any) -> None:
        assert load(PRODUCTION, ENVIRONMENT="").ENVIRONMENT == "production"

    @pytest.mark.parametrize("name", ["Development", "prod"])
    def test_is_rejected_when_misspelt_and_counts_as_production(
        self, problems: Any, name: str
    ) -> None:
        found = problems({"ENVIRONMENT": name})
        assert found[0] == "ENVIRONMENT must be one of development, test, production"
        assert "DATABASE_URL is missing" in found


class TestDefaults:
    def test_of_variables_that_are_not_numbers(self, load: Any) -> None:
        loaded = load(PRODUCTION)
        assert loaded.DATABASE_PREPARED_STATEMENTS is True
        assert loaded.JWT_SECRET_KEY_FALLBACKS == ()
        assert loaded.CORS_ALLOWED_ORIGINS == ()
        assert loaded.TRUSTED_PROXIES == ()
        assert loaded.SUPABASE_ALLOW_UNVERIFIED is False
        assert loaded.SUPABASE_REQUIRE_AAL2 == "off"
        assert loaded.ADMIN_ENABLED is True
        assert loaded.ACCESS_LOG is True
        assert loaded.LOG_LEVEL == "INFO"

    def test_of_production_hide_the_docs_and_write_log_files(self, load: Any) -> None:
        loaded = load(PRODUCTION)
        assert loaded.API_DOCS_ENABLED is False
        assert environment.BASE_DIR / "logs" == loaded.LOG_DIR

    def test_of_development_serve_the_docs_and_need_no_database_or_supabase(
        self, load: Any
    ) -> None:
        loaded = load(DEVELOPMENT)
        assert loaded.API_DOCS_ENABLED is True
        assert loaded.LOG_DIR is None
        assert loaded.DATABASE_URL == ""
        assert loaded.SUPABASE_URL == ""
        assert loaded.ALLOWED_HOSTS == ("localhost", "127.0.0.1", "[::1]")

    def test_of_secrets_in_tests_are_random(self, load: Any) -> None:
        first, second = load(TEST), load(TEST)
        assert len({first.SECRET_KEY, first.JWT_SECRET_KEY, second.SECRET_KEY}) == 3

    def test_are_used_for_empty_and_blank_variables(self, load: Any) -> None:
        loaded = load(PRODUCTION, LOG_LEVEL="", ACCESS_LOG=" ")
        assert loaded.LOG_LEVEL == "INFO"
        assert loaded.ACCESS_LOG is True


class TestValues:
    @pytest.mark.parametrize("value", ["off", "staff", "all"])
    def test_of_a_choice_are_taken_as_given(self, load: Any, value: str) -> None:
        assert load(PRODUCTION, SUPABASE_REQUIRE_AAL2=value).SUPABASE_REQUIRE_AAL2 == value

    @pytest.mark.parametrize("value", ["Staff", "true", "0", "staff,all"])
    def test_of_a_choice_are_rejected_when_misspelt(self, problems: Any, value: str) -> None:
        assert problems(PRODUCTION, SUPABASE_REQUIRE_AAL2=value) == [
            "SUPABASE_REQUIRE_AAL2 must be one of off, staff, all"
        ]

    def test_of_the_log_level_may_be_in_small_letters(self, load: Any) -> None:
        assert load(PRODUCTION, LOG_LEVEL="debug").LOG_LEVEL == "DEBUG"

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
    def test_of_switches_are_true_1_false_and_0(self, load: Any, given: str, meant: bool) -> None:
        assert load(PRODUCTION, ADMIN_ENABLED=given).ADMIN_ENABLED is meant

    def test_of_lists_are_separated_by_commas_and_trimmed(self, load: Any) -> None:
        loaded = load(PRODUCTION, ALLOWED_HOSTS="a.example.com, .example.org,,[::1] ")
        assert loaded.ALLOWED_HOSTS == ("a.example.com", ".example.org", "[::1]")

    def test_of_the_supabase_url_lose_a_slash_at_the_end(self, load: Any) -> None:
        loaded = load(PRODUCTION, SUPABASE_URL="https://project.example.com/")
        assert loaded.SUPABASE_URL == "https://project.example.com"

    def test_of_a_relative_log_folder_are_below_the_checkout(self, load: Any) -> None:
        assert load(TEST, LOG_DIR="here/logs").LOG_DIR == environment.BASE_DIR / "here" / "logs"
        assert load(TEST, LOG_DIR="/var/log/api").LOG_DIR == Path("/var/log/api")

    def test_of_secrets_are_taken_literally(self, load: Any) -> None:
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
    def test_of_database_urls_may_have_options_and_sockets(self, load: Any, url: str) -> None:
        assert load(PRODUCTION, DATABASE_URL=url).DATABASE_URL == url

    @pytest.mark.parametrize(
        "proxies",
        [
            *("10.0.0.0/8", "172.16.0.0/12,192.168.0.0/16", "127.0.0.1,::1", "0.0.0.0"),
            *("fc00::/7", "fd00::/8", "2400:cb00::/32", "104.16.0.0/13", "::ffff:10.0.0.0/104"),
            "10.0.0.0/8,10.1.0.0/16,10.0.0.1",
        ],
    )
    def test_of_trusted_proxies_are_addresses_and_networks(self, load: Any, proxies: str) -> None:
        assert load(PRODUCTION, TRUSTED_PROXIES=proxies).TRUSTED_PROXIES == tuple(
            proxies.split(",")
        )

    @pytest.mark.parametrize("proxies", ["0.0.0.0/0", "::/0"])
    def test_of_trusted_proxies_may_be_everybody_in_development(
        self, load: Any, proxies: str
    ) -> None:
        assert load(DEVELOPMENT, TRUSTED_PROXIES=proxies).TRUSTED_PROXIES == (proxies,)

    def test_of_urls_may_be_plain_http_in_development(self, load: Any) -> None:
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
            ("SECRET_KEY", strong("other") + "\u200b"),
            ("ALLOWED_HOSTS", ","),
        ],
    )
    def test_of_one_variable_name_it(self, problems: Any, name: str, value: str) -> None:
        found = problems(PRODUCTION, **{name: value})
        assert {line.split()[0] for line in found} == {name}

    def test_with_trusted_proxies_say_what_to_write_instead(self, problems: Any) -> None:
        (problem,) = problems(PRODUCTION, TRUSTED_PROXIES="0.0.0.0/0")
        assert "Name your proxies, such as 10.0.0.5 or 10.0.0.0/8" in problem

    @pytest.mark.parametrize("name", environment.VARIABLES)
    def test_never_show_a_value(self, problems: Any, name: str) -> None:
        found = problems(PRODUCTION, **{name: "hunter2\x7f"})
        assert f"{name} contains characters that cannot be printed" in found
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
    def test_of_ours_and_supabase_are_rejected_everywhere(
        self, problems: Any, variables: dict[str, str], ours: str, theirs: str
    ) -> None:
        secret = strong("other")
        found = problems(variables, **{ours: secret, theirs: secret})
        assert found == [f"{ours} must differ from {theirs}"]

    def test_are_rejected_in_production(self, problems: Any) -> None:
        found = problems(PRODUCTION, JWT_SECRET_KEY=PRODUCTION["SECRET_KEY"])
        assert found == ["JWT_SECRET_KEY must differ from SECRET_KEY"]

    def test_include_a_fallback_that_is_the_present_key(self, problems: Any) -> None:
        found = problems(PRODUCTION, JWT_SECRET_KEY_FALLBACKS=PRODUCTION["JWT_SECRET_KEY"])
        assert found == ["JWT_SECRET_KEY_FALLBACKS must differ from JWT_SECRET_KEY"]

    def test_may_be_used_in_development(self, load: Any) -> None:
        assert load(DEVELOPMENT, SECRET_KEY="dev", JWT_SECRET_KEY="dev").SECRET_KEY == "dev"
