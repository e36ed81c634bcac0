"""The admin while PostgreSQL is there and cannot do what it is asked."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import psycopg
import pytest
from django.core.exceptions import BadRequest
from django.db import DatabaseError, connection
from django.test import RequestFactory
from psycopg import errors

from megapolis.admin import outage
from megapolis.database import connection as factory
from tests.megapolis.admin.conftest import MakeStaff, Staff, orm

ADD = "/admin/widgets/widget/add/"
RAISE = """
    CREATE OR REPLACE FUNCTION raise_state() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'a reason' USING ERRCODE = '{code}';
    END $$;
    CREATE TRIGGER raise_state BEFORE INSERT OR UPDATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION raise_state();
"""

type Raising = Callable[[str, str], AbstractAsyncContextManager[None]]


@pytest.fixture
async def admin(db: None) -> AsyncIterator["psycopg.AsyncConnection[Any]"]:
    parameters = factory.connection_parameters() | {"prepare_threshold": None}
    async with await psycopg.AsyncConnection.connect(**parameters) as admin:
        yield admin


@pytest.fixture
def raising(admin: Any) -> Raising:
    """`async with raising(table, code)`: what writes to the table fails so."""

    @asynccontextmanager
    async def raising(table: str, code: str) -> AsyncIterator[None]:
        await admin.execute(RAISE.format(table=table, code=code))
        try:
            yield
        finally:
            await admin.execute("DROP FUNCTION raise_state CASCADE")

    return raising


@asynccontextmanager
async def read_only(admin: Any) -> AsyncIterator[None]:
    """New sessions of the database accept no writes."""
    name = admin.info.dbname
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        yield
    finally:
        await admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


def check_page(response: Any, heading: str) -> None:
    assert response.status_code == 503
    assert response.headers["retry-after"] == "5"
    assert f"<h1>{heading}</h1>" in response.text


class TestReadOnlyDatabase:
    async def test_is_still_shown_and_a_change_is_told_as_an_outage(
        self, superuser: Staff, user: Any, admin: Any, log: list[str]
    ) -> None:
        async with read_only(admin):
            assert (await superuser.get("/admin/widgets/widget/")).status_code == 200
            log.clear()
            response = await superuser.post(ADD, name="Bolt", owner=user.id)

        check_page(response, "The database does not accept writes now")
        assert len([line for line in log if f"POST {ADD} failed: 25006 " in line]) == 1
        assert "Traceback" not in "".join(log)
        assert (await superuser.post(ADD, name="Bolt", owner=user.id)).status_code == 200

    async def test_lets_nobody_sign_in_and_says_why(
        self, make_staff: MakeStaff, visitor: Staff, admin: Any
    ) -> None:
        await make_staff("ada@example.com")
        async with read_only(admin):
            rejected = await visitor.sign_in("ada@example.com")

        check_page(rejected, "The database does not accept writes now")
        assert (await visitor.sign_in("ada@example.com")).status_code == 200


class TestStateOfTheServer:
    @pytest.mark.parametrize(
        ("code", "heading"),
        [
            ("53100", "The database is out of resources"),
            ("54000", "The database is out of resources"),
            ("55000", "The database cannot do this now"),
            ("55P03", "The data is locked by another change"),
            ("57P03", "The database is away"),
            ("58030", "The database has a system error"),
            ("42P01", "The database does not match this version of the service"),
            ("XX000", "The database has an internal error"),
        ],
    )
    async def test_is_a_page_and_one_line_in_the_log(
        self, superuser: Staff, user: Any, raising: Raising, log: list[str], code: str, heading: str
    ) -> None:
        async with raising("widgets_widget", code):
            log.clear()
            check_page(await superuser.post(ADD, name="Bolt", owner=user.id), heading)

        assert len([line for line in log if f"failed: {code} a reason" in line]) == 1
        assert "Traceback" not in "".join(log)
        assert (await superuser.post(ADD, name="Bolt", owner=user.id)).status_code == 200

    @pytest.mark.parametrize("code", ["25006", "53100", "58030"])
    async def test_that_a_session_meets_when_it_is_saved_is_not_told_as_a_bad_request(
        self, superuser: Staff, user: Any, raising: Raising, code: str
    ) -> None:
        """Django takes it for a session that was deleted. A message is kept in the session."""
        async with raising("django_session", code):
            response = await superuser.post(ADD, name="Bolt", owner=user.id)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"


class TestConnection:
    @pytest.mark.parametrize(
        ("cause", "is_closed"),
        [
            (errors.ReadOnlySqlTransaction("x"), True),
            (errors.DiskFull("x"), True),
            (errors.QueryCanceled("x"), False),
            (errors.LockNotAvailable("x"), False),
        ],
    )
    async def test_of_django_is_closed_where_the_session_is_not_in_order(
        self, handler: None, cause: psycopg.Error, is_closed: bool
    ) -> None:
        exception = DatabaseError("x")
        exception.__cause__ = cause

        def answered() -> bool:
            connection.ensure_connection()
            assert outage.outage_page(RequestFactory().get("/admin/"), exception)
            return connection.connection is None

        assert await orm(answered) == is_closed

    async def test_is_none_of_the_business_of_another_bad_request(self, handler: None) -> None:
        request = RequestFactory().get("/admin/")
        assert outage.bad_request(request, BadRequest("x")).status_code == 400
