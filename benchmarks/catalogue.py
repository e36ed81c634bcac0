"""The servers that are compared, and how each is started."""

import secrets
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.database import CHECKOUT, LOGS
from benchmarks.servers import Server
from benchmarks.tokens import SECRET

NODE = Path("benchmarks", "peers", "node")


def uvicorn(application: str, options: str = "") -> tuple[str, ...]:
    """Return the command of a peer that uvicorn serves."""
    shared = "--host 127.0.0.1 --port {port} --loop uvloop --http httptools --no-access-log"
    return (sys.executable, "-m", "uvicorn", application, *shared.split(), *options.split())


def peers() -> list[Server]:
    """Return the peers, each with one worker and no access log."""
    bolt = "-m django runbolt --host 127.0.0.1 --port {port} --processes 1 --no-admin"
    stock = {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.django_settings"}
    fast = uvicorn("benchmarks.peers.fastapi_sqlalchemy:app")
    ninja = uvicorn("benchmarks.peers.django_ninja:application")
    floor = uvicorn(
        "benchmarks.peers.hand_written:application", "--no-proxy-headers --no-server-header"
    )
    return [
        Server("fastapi", "FastAPI, async SQLAlchemy, asyncpg", fast),
        Server("ninja", "stock async Django, Ninja", ninja, stock),
        Server(
            "bolt",
            "django-bolt",
            (sys.executable, *bolt.split()),
            {"DJANGO_SETTINGS_MODULE": "benchmarks.peers.bolt_settings"},
        ),
        Server("hand-written", "hand-written ASGI, psycopg, orjson (the floor)", floor),
    ]


def fastapi() -> Server:
    """Return FastAPI, which is compared wherever the others would only take time."""
    return peers()[0]


def node() -> Server | None:
    """Return the peer of Node.js with its packages installed, or None where there is no Node.js."""
    if not (shutil.which("node") and shutil.which("npm")):
        return None
    folder = CHECKOUT / NODE
    if not (folder / "node_modules").exists():
        command = "npm install --no-package-lock --no-audit --no-fund --loglevel=error"
        subprocess.run(command.split(), cwd=folder, stdout=sys.stderr, check=True)
    command = ("node", str(NODE / "server.mjs"), "{port}")
    return Server("node", "Node.js, Fastify, postgres.js", command, {"NODE_ENV": "production"})


def megapolis(
    python: str, folder: Path = CHECKOUT, *, workers: int = 1, access_log: bool = False
) -> Server:
    """Return the service of the checkout, in production and with its own virtual environment."""
    command = "manage.py run --host 127.0.0.1 --port {port} --workers " + str(workers)
    return Server(
        "megapolis",
        "Megapolis API",
        (python, *command.split()),
        {**production_environment(), "ACCESS_LOG": str(access_log).lower()},
        folder,
    )


def before(python: str, folder: Path) -> Server:
    """Return the service of another checkout, which that of the first is compared with."""
    return replace(megapolis(python, folder), name="before", title="Megapolis API before")


def production_environment() -> dict[str, str]:
    """Return the variables of the service in production, with secrets made up for the run."""
    return {
        "ENVIRONMENT": "production",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "JWT_SECRET_KEY": SECRET,
        "ALLOWED_HOSTS": "127.0.0.1",
        "SUPABASE_URL": "https://example.supabase.co",
        "LOG_DIR": str(LOGS),
    }
