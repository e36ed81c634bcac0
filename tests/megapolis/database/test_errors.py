"""Which errors of PostgreSQL are states of the server, and what follows from them."""

from collections.abc import Iterator
from typing import Any

import django.db
import psycopg
import pytest
from psycopg import errors

from megapolis import database
from megapolis.database import Insert, Param, Statement, outages
from megapolis.database.errors import (
    UNREACHABLE,
    DatabaseUnavailable,
    ReferenceGone,
    ServerState,
    ValueNotStorable,
    sqlstate_of,
    state_of,
    translated,
)
from megapolis.errors import ApiError
from megapolis.errors.exception_handler import exception_response
from tests.megapolis.database.sample_model import Sample, SampleRow

insert = Insert(Sample, {"name": Param("name"), "number": Param("number")}, row=SampleRow)
everything = Statement(Sample.objects.order_by("id"), row=SampleRow)

DROPPING = [
    "08000", "08006", "08P01", "25006", "25P03", "25P04", "28000", "28P01", "3D000",
    "53000", "53100", "53200", "53300", "53400", "54000", "54001", "54023",
    "55000", "55006", "57000", "57P01", "57P02", "57P03", "57P04", "57P05",
    "58000", "58030", "58P01", "58XYZ", "XX000", "XX001",
]  # fmt: skip
KEEPING = ["26000", "40001", "40P01", "55P03", "57014", "42501", "42P01", "42703", "3F000"]
NO_STATES = ["0A000", "21000", "22003", "23505", "23503", "25001", "25P02", "42601"]
RAISE = """
    CREATE FUNCTION raise_state() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'a reason' USING ERRCODE = '{code}';
    END $$;
    CREATE TRIGGER raise_state BEFORE INSERT ON samples
    FOR EACH ROW EXECUTE FUNCTION raise_state();
"""


def error(code: str) -> psycopg.Error:
    try:
        return errors.lookup(code)("a reason")
    except KeyError:
        exc = psycopg.OperationalError("a reason")
        exc.sqlstate = code
        return exc


def state(code: str) -> ServerState:
    """Return the state that the error tells of."""
    found = state_of(error(code))
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def no_outages() -> Iterator[None]:
    outages._last_seen.clear()
    yield
    outages.end()


class TestTable:
    @pytest.mark.parametrize("code", DROPPING)
    def test_drops_the_connection(self, code: str) -> None:
        assert state(code).drops_connection

    @pytest.mark.parametrize("code", KEEPING)
    def test_keeps_the_connection_where_its_session_is_in_order(self, code: str) -> None:
        assert not state(code).drops_connection

    @pytest.mark.parametrize("code", [*DROPPING, *KEEPING])
    def test_makes_a_503_with_retry_after_of_each(self, code: str) -> None:
        response = exception_response(translated(error(code)))

        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) >= 1
        assert b"a reason" not in response.content

    @pytest.mark.parametrize("code", NO_STATES)
    def test_leaves_out_what_a_statement_is_to_blame_for(self, code: str) -> None:
        assert state_of(error(code)) is None

    @pytest.mark.parametrize("code", ["08006", "57P01", "57P05"])
    def test_repeats_reads_after_a_lost_connection(self, code: str) -> None:
        assert state(code).repeats_reads

    @pytest.mark.parametrize("code", ["25006", "53100", "55P03", "57014", "40001", "58030"])
    def test_does_not_repeat_reads_that_would_meet_the_same(self, code: str) -> None:
        assert not state(code).repeats_reads

    def test_knows_an_error_without_a_code_as_a_lost_connection(self) -> None:
        for exc in (
            psycopg.OperationalError("lost"),
            django.db.OperationalError("lost"),
            django.db.InterfaceError("lost"),
        ):
            assert state_of(exc) is UNREACHABLE
        assert state_of(ValueError()) is None
        assert state_of(None) is None


class TestTranslation:
    @pytest.mark.parametrize(
        ("code", "kind"),
        [("25006", DatabaseUnavailable), ("22003", ValueNotStorable), ("23503", ReferenceGone)],
    )
    def test_is_the_same_for_the_ordinary_orm(self, code: str, kind: type[ApiError]) -> None:
        wrapped = django.db.DatabaseError("wrapped")
        wrapped.__cause__ = error(code)

        assert sqlstate_of(wrapped) == code
        assert isinstance(translated(wrapped), kind)
        assert exception_response(wrapped).status_code == kind.status

    def test_leaves_alone_what_only_the_caller_knows(self) -> None:
        exc = error("23505")
        assert translated(exc) is exc

    def test_is_logged_once_per_series_with_the_code(self, log: list[str]) -> None:
        for _ in range(100):
            translated(error("53100"))
            translated(error("25006"))

        assert log == [
            "ERROR PostgreSQL reports 53100: a reason\n\n",
            "ERROR PostgreSQL reports 25006: a reason\n\n",
        ]

    def test_keeps_the_process_unready_for_a_while_or_until_a_write_succeeds(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        translated(error("53100"))
        assert outages.failing() == "53100"
        outages.end()
        assert outages.failing() is None

        translated(error("58030"))
        monkeypatch.setattr(outages, "LASTS", 0)
        assert outages.failing() is None

    @pytest.mark.parametrize("code", ["54001", "55P03", "57014", "40001", "22003"])
    def test_does_not_let_one_statement_make_the_process_unready(self, code: str) -> None:
        translated(error(code))
        assert outages.failing() is None


@pytest.mark.usefixtures("samples")
class TestConnection:
    @pytest.mark.parametrize("code", ["25006", "53100", "54000", "55000", "57P01", "58030"])
    async def test_is_not_kept_after_a_write_that_met_a_state(
        self, open_pool: Any, observer: Any, code: str
    ) -> None:
        await open_pool(size=1)
        before = await backend()
        await observer.execute(RAISE.format(code=code))
        try:
            with pytest.raises(DatabaseUnavailable):
                await insert.one(name="one", number=1)
            assert await backend() != before
            before = await backend()
            with pytest.raises(DatabaseUnavailable):
                async with database.transaction():
                    await insert.one(name="one", number=1)
            assert await backend() != before
        finally:
            await observer.execute("DROP FUNCTION raise_state CASCADE")
        assert (await insert.one(name="one", number=1)).name == "one"

    @pytest.mark.parametrize("code", ["55P03", "57014"])
    async def test_is_kept_after_others(self, open_pool: Any, observer: Any, code: str) -> None:
        await open_pool(size=1)
        before = await backend()
        await observer.execute(RAISE.format(code=code))
        try:
            with pytest.raises(DatabaseUnavailable):
                await insert.one(name="one", number=1)
        finally:
            await observer.execute("DROP FUNCTION raise_state CASCADE")
        assert await backend() == before

    async def test_is_another_for_a_read_that_is_repeated(
        self, open_pool: Any, observer: Any
    ) -> None:
        await open_pool(size=1)
        await observer.execute("CREATE SEQUENCE calls OWNED BY samples.id")
        raise_once = (
            b"DO $$ BEGIN IF nextval('calls') = 1 THEN RAISE admin_shutdown; END IF; END $$"
        )
        before = await backend()

        await database.fetch(raise_once, [], reads=True)

        assert await backend() != before


async def backend() -> int:
    [[pid]] = await database.fetch(b"SELECT pg_backend_pid()", [], reads=True)
    return int(pid)
