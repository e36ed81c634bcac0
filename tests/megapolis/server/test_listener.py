"""The listening socket: bound before anything starts, closed without a reset."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
import uvicorn

from megapolis.server.listener import bind, close_for_all, drop_handshakes, has_waiting

pytestmark = pytest.mark.allow_hosts(["127.0.0.1", "::1"])
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs filters of sockets")


@pytest.fixture(params=["127.0.0.1", "::1"])
def config(request: pytest.FixtureRequest) -> uvicorn.Config:
    with suppress(OSError), socket.create_server((request.param, 0), family=family(request.param)):
        return uvicorn.Config("app", host=request.param, port=0, log_config=None)
    pytest.skip("no IPv6")


def family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@pytest.fixture
def listener(config: uvicorn.Config) -> Iterator[socket.socket]:
    with bind(config) as listener:
        yield listener


def connect(listener: socket.socket, *, timeout: float = 5) -> socket.socket:
    return socket.create_connection(listener.getsockname()[:2], timeout)


class TestBind:
    def test_lets_clients_connect_before_the_application_has_started(
        self, listener: socket.socket
    ) -> None:
        assert not has_waiting(listener)
        with connect(listener):
            assert has_waiting(listener)

    def test_does_not_share_the_address_with_another_service(self, listener: socket.socket) -> None:
        with socket.socket(listener.family) as another:
            another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match="in use"):
                another.bind(listener.getsockname())

    def test_gives_the_address_to_one_of_two_services_that_start_together(
        self, config: uvicorn.Config, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both can bind, because neither listens yet."""
        first = config.bind_socket()
        config.port = first.getsockname()[1]
        both = iter([first, config.bind_socket()])
        monkeypatch.setattr(config, "bind_socket", lambda: next(both))

        with bind(config), pytest.raises(SystemExit):
            bind(config)


@LINUX
class TestDropHandshakes:
    def test_lets_no_new_connection_be_established(self, listener: socket.socket) -> None:
        drop_handshakes(listener)

        with pytest.raises(TimeoutError):
            connect(listener, timeout=0.2)
        assert not has_waiting(listener)

    def test_keeps_connections_that_wait_to_be_accepted(self, listener: socket.socket) -> None:
        with connect(listener) as client:
            drop_handshakes(listener)
            client.sendall(b"request")
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.recv(10) == b"request"
                accepted.sendall(b"response")
            assert client.recv(10) == b"response"

    def test_keeps_connections_that_were_accepted(self, listener: socket.socket) -> None:
        with connect(listener) as client:
            accepted, _ = listener.accept()
            drop_handshakes(listener)
            listener.close()
            with accepted:
                accepted.sendall(b"response")
            assert client.recv(10) == b"response"
            assert client.recv(10) == b""

    def test_of_one_socket_does_not_matter_to_the_next_service(
        self, listener: socket.socket, config: uvicorn.Config
    ) -> None:
        drop_handshakes(listener)
        config.port = listener.getsockname()[1]
        listener.close()

        with bind(config) as next_one, connect(next_one):
            assert has_waiting(next_one)


class TestCloseForAll:
    def test_refuses_clients_while_another_process_has_the_socket_open(
        self, listener: socket.socket
    ) -> None:
        """A hung worker cannot close it."""
        with subprocess.Popen(
            [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        ) as process:
            assert process.stdout
            process.stdout.readline()
            host, port, *_ = listener.getsockname()
            close_for_all(listener)

            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, port), 5)

    def test_can_be_repeated(self, listener: socket.socket) -> None:
        close_for_all(listener)
        close_for_all(listener)
