"""The service and its commands as processes, in an environment that a test gives them."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from urllib.parse import quote, urlencode

import httpx
from django.db import connections

from megapolis import environment
from megapolis.environment import limits
from tests.ports import free_port

STARTED = "Application startup complete"
TIMEOUT = 30
"""Seconds for what takes one or two on a machine at rest."""


def database_url() -> str:
    """Return the address of this run's own database, wherever DATABASE_URL has it made."""
    given = connections["default"].get_connection_params()
    password = f":{quote(given['password'], safe='')}" if given.get("password") else ""
    where = urlencode({name: given[name] for name in ("host", "port") if given.get(name)})
    return f"postgresql://{quote(given['user'], safe='')}{password}@/{given['dbname']}?{where}"


def jwt_secret() -> str:
    """Return the key of this process, so that its tokens are good elsewhere too."""
    return environment.JWT_SECRET_KEY


def production() -> dict[str, str]:
    """Return a good configuration, on a database that answers nobody."""
    return {
        "ENVIRONMENT": "production",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "JWT_SECRET_KEY": secrets.token_urlsafe(48),
        "ALLOWED_HOSTS": "api.example.com",
        "DATABASE_URL": "postgresql://megapolis:password@127.0.0.1:1/megapolis",
        "SUPABASE_URL": "https://project.supabase.co",
        "LOG_DIR": "",
    }


def development() -> dict[str, str]:
    """Return a good configuration without a Supabase project."""
    return {
        "ENVIRONMENT": "development",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "JWT_SECRET_KEY": secrets.token_urlsafe(48),
        "DATABASE_URL": database_url(),
    }


def variables(given: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment: what is not given is empty, whatever a `.env` says."""
    inherited = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"}
    return {**inherited, **dict.fromkeys([*environment.VARIABLES, *limits.VARIABLES], ""), **given}


def manage(
    *arguments: str, given: Mapping[str, str], timeout: float = TIMEOUT
) -> "subprocess.CompletedProcess[str]":
    """Run a command of manage.py to its end."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=environment.BASE_DIR,
        env=variables(given),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@dataclass
class Service:
    """A running service: where it is, and the lines that it has logged so far."""

    url: str
    process: "subprocess.Popen[str]"
    log: list[str] = field(default_factory=list)
    started: Event = field(default_factory=Event)

    def read_log(self, stderr: Iterator[str]) -> None:
        for line in stderr:
            self.log.append(line)
            if STARTED in line:
                self.started.set()
        self.started.set()

    def post_token(self, token: str, **headers: str) -> httpx.Response:
        """Exchange a token; underscores in the names of headers stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {"access_token": token}
        return httpx.post(f"{self.url}/auth/token", json=body, headers=named, timeout=TIMEOUT)


@contextmanager
def serving(given: Mapping[str, str]) -> Iterator[Service]:
    """Serve with `manage.py run` on a free port of 127.0.0.1 until the block ends."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "manage.py", "run", "--port", str(port)],
        cwd=environment.BASE_DIR,
        env=variables(given),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        service = Service(f"http://127.0.0.1:{port}", process)
        reader = Thread(target=service.read_log, args=(process.stderr,))
        reader.start()
        try:
            assert service.started.wait(TIMEOUT), "not started in time"
            assert process.poll() is None, "".join(service.log)
            yield service
        finally:
            process.terminate()
            try:
                process.wait(TIMEOUT)
            finally:
                process.kill()
                reader.join()
