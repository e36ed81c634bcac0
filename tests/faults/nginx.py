"""nginx in front of services, as Debian has it."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.service import Service
from tests.ports import free_port, listens
from tests.waiting import until

needed = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/1;
    proxy_temp_path {folder}/2;
    fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4;
    scgi_temp_path {folder}/5;
    upstream api {{ {servers} keepalive 32; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://api;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host 127.0.0.1;
        }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, *services: Service) -> Iterator[int]:
    """Yield a port at which nginx divides the requests between the services.

    It keeps connections to them, and tries another service only where a request was not sent.
    """
    port = free_port()
    servers = " ".join(f"server 127.0.0.1:{service.port};" for service in services)
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, servers=servers, port=port))
    with subprocess.Popen(
        ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(file)]
    ) as process:
        try:
            until(lambda: listens(port))
            yield port
        finally:
            process.terminate()
