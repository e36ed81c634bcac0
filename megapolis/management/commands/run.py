"""Serve the API and the admin with uvicorn."""

import shlex
import socket
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from megapolis import embedded, environment
from megapolis.environment import limits
from megapolis.server.serve import serve


class Command(BaseCommand):
    """Check the configuration, start the embedded database if that is the one, and serve."""

    help = "Serve the API and the admin."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port (default: %(default)s)")
        parser.add_argument("--reload", action="store_true", help="restart when the code changes")
        parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")

    def handle(self, *, host: str, port: int, reload: bool, workers: int, **options: Any) -> None:
        """Serve until a signal ends it."""
        if reload and workers > 1:
            raise CommandError("--reload works with one worker only.")
        if workers < 1:
            raise CommandError("--workers must be at least 1.")
        _check_port(host, port)
        if not environment.DATABASE_URL:
            _start_database()
        if environment.ENVIRONMENT == "development":
            self._greet(host, port)
        serve(
            "megapolis.asgi:application",
            reload=reload,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http="megapolis.server.protocol:TimeoutProtocol",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(environment.TRUSTED_PROXIES),
            forwarded_allow_ips=list(environment.TRUSTED_PROXIES),
            timeout_graceful_shutdown=limits.SHUTDOWN_TIMEOUT,
            timeout_keep_alive=limits.KEEP_ALIVE,
        )

    def _greet(self, host: str, port: int) -> None:
        url = f"http://{host}:{port}"
        token = shlex.join([sys.executable, str(settings.BASE_DIR / "manage.py"), "token"])
        self.stdout.write(
            f"Megapolis API   {url}/docs\n"
            f"Admin           {url}/admin/   (first: python manage.py createsuperuser)\n"
            "Create a widget, from another terminal:\n\n"
            f"curl -i {url}/widgets/ -H 'Content-Type: application/json' "
            f'-H "Authorization: Bearer $({token} you@example.com)" '
            '-d "{\\"name\\": \\"Widget of $(date +%T)\\"}"\n'
        )


def _start_database() -> None:
    try:
        embedded.start()
    except embedded.EmbeddedError as exc:
        raise CommandError(str(exc)) from None


def _check_port(host: str, port: int) -> None:
    """Fail with a sentence instead of uvicorn's log line, before anything is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as exc:
            raise CommandError(f"Cannot serve on {host}:{port}: {exc}.") from None
