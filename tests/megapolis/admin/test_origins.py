"""Whose pages may send the admin's forms in production: those of the same host, over https."""

import json
import subprocess
import sys
from typing import Any

import pytest

from megapolis import environment
from tests.processes import production, variables

POST = """
import asyncio, json, re, sys
import httpx
from megapolis.asgi import application

async def post(host, headers):
    transport = httpx.ASGITransport(application)
    # Over http, as behind a proxy that ends TLS and is not trusted.
    async with httpx.AsyncClient(transport=transport, base_url="http://" + host) as http:
        page = await http.get("/admin/login/")
        token = re.search(r'csrfmiddlewaretoken" value="(\\w+)"', page.text)[1]
        cookie = page.headers["set-cookie"].partition(";")[0]
        form = {"csrfmiddlewaretoken": token, "username": "a@b.com", "password": "x"}
        headers = {"Cookie": cookie, **headers}
        return (await http.post("/admin/login/", data=form, headers=headers)).status_code

async def post_all(requests):
    return [await post(*request) for request in requests]

print(json.dumps(asyncio.run(post_all(json.loads(sys.argv[1])))))
"""
HOST = "api.example.com"
CASES: dict[str, tuple[str, dict[str, str], bool]] = {
    "its own": (HOST, {"Origin": f"https://{HOST}"}, True),
    "its own with a port": (f"{HOST}:8443", {"Origin": f"https://{HOST}:8443"}, True),
    "its own of another allowed name": (
        "staff.example.org",
        {"Origin": "https://staff.example.org"},
        True,
    ),
    "a page of its own": ("staff.example.org", {"Referer": "https://staff.example.org/x"}, True),
    "a subdomain beside it": (HOST, {"Origin": "https://evil.example.com"}, False),
    "a subdomain below it": (HOST, {"Origin": f"https://evil.{HOST}"}, False),
    "the domain above it": (HOST, {"Origin": "https://example.com"}, False),
    "another allowed name": (HOST, {"Origin": "https://staff.example.org"}, False),
    "its own without TLS": (HOST, {"Origin": f"http://{HOST}"}, False),
    "another port": (HOST, {"Origin": f"https://{HOST}:8443"}, False),
    "a name that begins like it": (HOST, {"Origin": f"https://{HOST}.evil.net"}, False),
    "its own with a dot": (HOST, {"Origin": f"https://{HOST}."}, False),
    "a wildcard": (HOST, {"Origin": "https://*.example.com"}, False),
    "null": (HOST, {"Origin": "null"}, False),
    "none": (HOST, {}, False),
    "no address": (HOST, {"Origin": "https://[::1"}, False),
    "a page of a subdomain": (HOST, {"Referer": "https://evil.example.com/x"}, False),
    "a page without TLS": (HOST, {"Referer": f"http://{HOST}/x"}, False),
}


@pytest.fixture(scope="module")
def statuses() -> dict[str, int]:
    """What became of a form from each origin: 403, or 503 as the database is away."""
    given = production() | {
        "ALLOWED_HOSTS": ".example.com,staff.example.org",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    }
    requests: list[Any] = [(host, headers) for host, headers, _ in CASES.values()]
    done = subprocess.run(
        [sys.executable, "-c", POST, json.dumps(requests)],
        cwd=environment.BASE_DIR,
        env=variables(given),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(CASES, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("origin", CASES)
def test_a_form_is_taken_from_its_own_host_alone(origin: str, statuses: dict[str, int]) -> None:
    assert statuses[origin] == (503 if CASES[origin][2] else 403)
