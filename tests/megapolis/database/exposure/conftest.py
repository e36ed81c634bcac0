"""Databases on a server whose default privileges are those of a Supabase project."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.db import connections
from django.db.utils import ConnectionHandler

from tests.data_api import OWNER, Project, data_api_server
from tests.processes import development, manage

type Connected = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="session")
def data_api() -> Iterator[str]:
    """The folder of the server's socket."""
    with data_api_server() as folder:
        yield folder


@pytest.fixture
def project(data_api: str) -> Iterator[Project]:
    """An empty database."""
    with created(data_api) as project:
        yield project


@pytest.fixture(scope="session")
def template(data_api: str, pool: None) -> Iterator[str]:
    """The name of a database after `initdb`."""
    with created(data_api) as project:
        command(project, "initdb")
        yield project.name


@pytest.fixture
def ours(data_api: str, template: str) -> Iterator[Project]:
    """A database after `initdb`."""
    with created(data_api, template=template) as project:
        yield project


@pytest.fixture
def connected(django_db_blocker: Any) -> Connected:
    """`with connected(project) as connection:` makes it Django's default connection."""

    @contextmanager
    def connect(project: Project, user: str = OWNER) -> Iterator[Any]:
        given = {"HOST": project.folder, "NAME": project.name, "USER": user}
        handler = ConnectionHandler(
            {"default": {"ENGINE": "megapolis.database.postgresql", **given}}
        )
        ordinary = connections["default"]
        connections["default"] = handler["default"]
        try:
            with django_db_blocker.unblock():
                yield connections["default"]
        finally:
            connections["default"].close()
            connections["default"] = ordinary

    return connect


@contextmanager
def created(folder: str, *, template: str = "template1") -> Iterator[Project]:
    project = Project(folder, f"project_{secrets.token_hex(4)}")
    server = Project(folder, "postgres")
    server.execute(f"CREATE DATABASE {project.name} TEMPLATE {template}")
    yield project
    server.execute(f"DROP DATABASE {project.name} WITH (FORCE)", user="postgres")


def command(project: Project, *arguments: str, fails: bool = False) -> str:
    """Run a command on the database, and return what it prints."""
    done = manage(*arguments, given=development() | {"DATABASE_URL": project.url})
    assert bool(done.returncode) == fails, done.stderr
    return done.stdout + done.stderr
