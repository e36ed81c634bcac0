"""Parameters: named, typed by the column they meet, and one plan for every value."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import (
    BooleanField,
    Case,
    Exists,
    F,
    FloatField,
    IntegerField,
    OuterRef,
    Q,
    Subquery,
    TextField,
    Value,
    When,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Concat, Lower
from pydantic import BaseModel

from megapolis import database, environment
from megapolis.database import Insert, Param, Statement
from megapolis.database.errors import ValueNotStorable
from tests.megapolis.database.sample_model import Sample, SampleRow

pytestmark = pytest.mark.usefixtures("samples")

insert = Insert(Sample, {"name": Param("name"), "number": Param("number")}, row=SampleRow)
small = Insert(Sample, {"name": Param("name"), "small": Param("small")}, row=SampleRow)


def where(*conditions: Any, **lookups: Any) -> Statement[SampleRow]:
    return Statement(Sample.objects.filter(*conditions, **lookups).order_by("id"), row=SampleRow)


async def names(statement: Statement[SampleRow], **values: Any) -> str:
    return " ".join(row.name for row in await statement.all(**values))


@pytest.fixture(autouse=True)
async def rows(samples: None) -> None:
    for name, number in (("one", 1), ("two", 2), ("ten%", 10), ("none", None)):
        await insert.one(name=name, number=number)


class TestPlan:
    async def test_is_one_for_ids_of_every_size_and_uses_the_index(self, open_pool: Any) -> None:
        await open_pool(size=1)
        find = where(pk=Param("id"))

        for exponent in (0, 15, 31, 62):
            await find.one_or_none(id=2**exponent)
        await find.one_or_none(id=2**63 - 1)

        assert find.compiled.sql.endswith(b'WHERE "samples"."id" = ($1::bigint) ORDER BY 1 ASC')
        sql = b"SELECT name, parameter_types::text[] FROM pg_prepared_statements WHERE statement=$1"
        [[name, types]] = await database.fetch(sql, [find.compiled.sql.decode()], reads=True)
        assert types == ["bigint"]
        await database.fetch(b"SET enable_seqscan = off", [], reads=True)
        plan = await database.fetch(f"EXPLAIN EXECUTE {name}(7)".encode(), [], reads=True)
        assert any("Index Scan using samples_pkey" in line for [line] in plan)
        assert not any("numeric" in line for [line] in plan)

    async def test_may_be_done_without(
        self, open_pool: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(environment, "DATABASE_PREPARED_STATEMENTS", False)
        await open_pool(size=1)

        assert await names(where(pk=Param("id")), id=1) == "one"
        assert await database.fetch(b"SELECT FROM pg_prepared_statements", [], reads=True) == []

    @pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**400])
    async def test_refuses_numbers_beyond_the_column(self, value: int) -> None:
        with pytest.raises(ValueNotStorable):
            await where(pk=Param("id")).all(id=value)
        with pytest.raises(ValueNotStorable):
            await where(small=Param("small")).all(small=value)


class TestValues:
    @pytest.mark.parametrize("values", [{}, {"id": 1, "name": "x"}, {"nam": "x"}])
    async def test_must_have_the_names_of_the_parameters(self, values: dict[str, Any]) -> None:
        with pytest.raises(TypeError, match=r"the statement takes \['id'\], not"):
            await where(pk=Param("id")).all(**values)

    async def test_may_be_used_twice(self) -> None:
        statement = where(Q(number=Param("x")) | Q(number__gt=Param("x")))

        assert await names(statement, x=2) == "two ten%"

    async def test_may_be_none(self) -> None:
        row = await insert.one(name="new", number=None)

        assert row.number is None
        assert await names(where(number=Param("x")), x=None) == ""
        assert await names(where(Q(number=Param("x")) | Q(pk=Param("id"))), x=None, id=1) == "one"

    @pytest.mark.parametrize("name", ["' OR 1 --", "%s", "%%", "$1", "\\", "ü"])
    async def test_are_never_read_as_sql(self, name: str) -> None:
        row = await insert.one(name=name, number=7)

        assert await where(name=Param("name")).one(name=name) == row

    async def test_longer_than_the_column_match_nothing(self) -> None:
        await insert.one(name="012345678", number=1)

        assert await names(where(name=Param("name")), name="0123456789") == ""


class TestType:
    async def test_comes_from_the_column_that_is_compared(self) -> None:
        for condition in (
            Q(number=Param("x")),
            Q(number__gte=Param("x"), number__lte=Param("x")),
            ~Q(~Q(number=Param("x"))),
            Q(number__in=[Param("x"), 100]),
            Q(number__range=(Param("x"), Param("x"))),
        ):
            assert await names(where(condition), x=2) == "two", condition

    async def test_is_found_inside_a_subquery(self) -> None:
        twins = Sample.objects.filter(number=OuterRef("number"), name=Param("name"))
        numbers = Sample.objects.filter(name=Param("name")).values("number")

        assert await names(where(Exists(twins)), name="two") == "two"
        assert await names(where(~Exists(twins)), name="two") == "one ten% none"
        assert await names(where(number__in=numbers), name="two") == "two"
        assert await names(where(number=Subquery(numbers[:1])), name="two") == "two"

    async def test_is_found_inside_a_condition_of_an_annotation(self) -> None:
        class Marked(BaseModel):
            marked: bool

        chosen = Case(When(number=Param("x"), then=Value(True)), default=Value(False))
        statement = Statement(Sample.objects.order_by("id").annotate(marked=chosen), row=Marked)

        assert [row.marked for row in await statement.all(x=2)] == [False, True, False, False]

    async def test_may_be_said(self) -> None:
        folded = where(name=Lower(Param("name", TextField())))
        flagged = where(Q(Param("flag", BooleanField())), number__gt=F("number") - Param(
            "less", IntegerField()))  # fmt: skip

        assert await names(folded, name="TWO") == "two"
        assert await names(flagged, flag=True, less=1) == "one two ten%"
        assert await names(flagged, flag=False, less=1) == ""

    async def test_must_be_said_where_there_is_no_column(self) -> None:
        for make in (
            lambda: where(name=Lower(Param("prefix"))),
            lambda: Statement(Sample.objects.annotate(x=Param("prefix")), row=Annotated),
            lambda: Statement(Sample.objects.all(), row=SampleRow, limit=Param("prefix")),
        ):
            with pytest.raises(TypeError, match=r'Param\("prefix", TextField\(\)\)'):
                _ = make().compiled


class Annotated(BaseModel):
    x: str


class TestLiterals:
    async def test_may_contain_what_marks_a_placeholder(self) -> None:
        assert await names(where(name__contains="%")) == "ten%"
        assert await names(where(name__endswith=Param("end")), end="%") == "ten%"
        assert await names(where(name=Concat(Value("ten"), Value("%")))) == "ten%"
        raw = RawSQL("SELECT 'ten%%' WHERE %s = '%%s'", ["%s"])
        assert await names(where(name=raw)) == "ten%"

    @pytest.mark.parametrize(
        ("constant", "value"),
        [
            (Value(5), 5),
            (Value(-5), -5),
            (Value(True), True),
            (Value("it's \\ $1 %s"), "it's \\ $1 %s"),
            (Value(b"\x00"), b"\x00"),
            (Value(timedelta(days=1)), timedelta(days=1)),
            (Value(datetime(2024, 2, 29, tzinfo=UTC)), datetime(2024, 2, 29, tzinfo=UTC)),
            (Value(1) + Value(2), 3),
            (F("small") + Value(40_000), 40_001),
            (Cast(F("small"), FloatField()) * 2.5, 2.5),
            (Case(When(pk=0, then=Value(10)), default=Value(9)), 9),
        ],
        ids=str,
    )
    async def test_have_the_types_that_the_orm_gives_them(self, constant: Any, value: Any) -> None:
        await small.one(name="small", small=1)
        only = Sample.objects.filter(name="small").annotate(x=constant)

        row = await Statement(only, row=Anything).one()

        assert row.x == value
        assert type(row.x) is type(value)

    async def test_are_sorted_as_numbers(self) -> None:
        rank = Case(When(name="one", then=Value(10)), default=Value(9))
        ranked = Statement(Sample.objects.order_by(rank, "-id"), row=SampleRow)

        assert await names(ranked) == "none ten% two one"


class Anything(BaseModel):
    x: Any


class TestMistakes:
    async def test_say_what_to_do(self) -> None:
        sliced = Sample.objects.all()[:5]

        with pytest.raises(TypeError, match="limit"):
            Statement(sliced, row=SampleRow, limit=Param("limit", IntegerField()))
        with pytest.raises(TypeError, match="update"):
            Insert(Sample, {"name": Param("name")}, unique=("name",), row=SampleRow)

    async def test_of_a_condition_that_nothing_meets(self) -> None:
        assert await where(pk__in=[]).all() == []
