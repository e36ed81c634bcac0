"""Statements: each kind of them, and the rows they give back."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from django.db.models import Count, F, IntegerField, Value
from django.db.models.functions import Now
from psycopg.types.json import Jsonb
from pydantic import BaseModel, Field

from accounts.models import User
from megapolis.database import Delete, Insert, Param, Statement, Update
from megapolis.database.errors import ReferenceGone, ValueNotStorable
from tests import factories
from tests.megapolis.database.sample_model import Sample, SampleRow
from tests.widgets.factories import make_widget
from widgets.models import Widget

pytestmark = pytest.mark.usefixtures("samples")

insert = Insert(Sample, {"name": Param("name"), "number": Param("number")}, row=SampleRow)
everything = Statement(Sample.objects.order_by("id"), row=SampleRow)
find = Statement(Sample.objects.filter(pk=Param("id")), row=SampleRow)


class TestStatement:
    async def test_gives_rows_of_a_pydantic_model(self) -> None:
        one = await insert.one(name="one", number=1)
        two = await insert.one(name="two", number=None)

        assert await everything.all() == [one, two]
        assert await everything.one() == one
        assert await everything.count() == 2

    async def test_gives_none_or_an_error_where_there_is_no_row(self) -> None:
        assert await find.one_or_none(id=1) is None
        assert await everything.all() == []
        assert await everything.count() == 0
        with pytest.raises(LookupError, match="found no SampleRow"):
            await find.one(id=1)

    async def test_gives_rows_of_a_dataclass(self) -> None:
        @dataclass
        class Named:
            name: str

        await insert.one(name="one", number=1)

        assert await Statement(Sample.objects.all(), row=Named).all() == [Named("one")]

    async def test_fills_a_model_by_its_names_whatever_its_aliases(self) -> None:
        class Aliased(BaseModel):
            created_at: datetime = Field(alias="createdAt")

        await insert.one(name="one", number=1)

        row = await Statement(Sample.objects.all(), row=Aliased).one()

        assert row.model_dump(by_alias=True) == {"createdAt": row.created_at}

    async def test_reads_annotations_and_times_in_utc(self) -> None:
        class Annotated(BaseModel):
            doubled: int
            created_at: datetime
            mark: int

        statement = Statement(
            Sample.objects.annotate(
                doubled=F("number") * Value(2), mark=Param("mark", IntegerField())
            ),
            row=Annotated,
        )
        await insert.one(name="one", number=21)

        row = await statement.one(mark=7)

        assert (row.doubled, row.mark) == (42, 7)
        assert row.created_at.utcoffset() == timedelta()

    async def test_groups(self) -> None:
        class Group(BaseModel):
            number: int
            rows: int

        for name in ("one", "uno"):
            await insert.one(name=name, number=1)
        grouped = Sample.objects.filter(number__gte=Param("least"))
        statement = Statement(grouped.values("number").annotate(rows=Count("id")), row=Group)

        assert await statement.all(least=1) == [Group(number=1, rows=2)]

    async def test_takes_as_many_rows_as_its_limit_says(self) -> None:
        for name in ("one", "two", "three"):
            await insert.one(name=name, number=1)
        statement = Statement(
            Sample.objects.order_by("id"), row=SampleRow, limit=Param("limit", IntegerField())
        )

        assert [row.name for row in await statement.all(limit=2)] == ["one", "two"]

    async def test_reads_arrays_and_json(self) -> None:
        class Rich(BaseModel):
            tags: list[str]
            data: dict[str, list[int]]

        values = {name: Param(name) for name in ("name", "tags", "data")}
        rich = Insert(Sample, values, row=Rich)

        row = await rich.one(name="rich", tags=["a", "%s"], data=Jsonb({"a": [1]}))

        assert row == Rich(tags=["a", "%s"], data={"a": [1]})


class TestJoin:
    async def test_reads_columns_of_what_is_referred_to(self, db: None) -> None:
        class Owned(BaseModel):
            name: str
            owner__email: str

        owner = await factories.make_user(email="a@example.com")
        await make_widget(owner, name="Cog")
        statement = Statement(Widget.objects.filter(owner=Param("owner")), row=Owned)

        assert await statement.all(owner=owner.id) == [
            Owned(name="Cog", owner__email="a@example.com")
        ]
        assert await statement.all(owner=owner.id + 1) == []

    async def test_filters_by_what_refers_to_it(self, db: None) -> None:
        owner = await factories.make_user()
        widget = await make_widget(owner)
        statement = Statement(
            User.objects.filter(widgets__name=Param("name")), row=factories.UserRow
        )

        assert await statement.all(name=widget.name) == [owner]


class TestInsert:
    async def test_takes_defaults_of_the_database(self) -> None:
        class Whole(SampleRow):
            flag: bool
            created_at: datetime

        row = await Insert(Sample, {"name": Param("name"), "number": 5}, row=Whole).one(name="x")

        assert (row.number, row.flag) == (5, False)
        assert abs(datetime.now(UTC) - row.created_at) < timedelta(minutes=1)

    async def test_updates_the_row_that_has_its_unique_fields(self) -> None:
        put = Insert(
            Sample,
            {"name": Param("name"), "number": Param("number"), "created_at": Now()},
            unique=("name",),
            update=("number",),
            row=SampleRow,
        )
        first = await put.one(name="one", number=1)

        second = await put.one(name="one", number=2)

        assert second == first.model_copy(update={"number": 2})
        assert await everything.all() == [second]

    async def test_leaves_a_unique_violation_to_the_service(self) -> None:
        await insert.one(name="one", number=1)

        with pytest.raises(psycopg.errors.UniqueViolation):
            await insert.one(name="one", number=1)

    async def test_refuses_what_refers_to_nothing(self, db: None) -> None:
        create = Insert(Widget, {"name": Param("name"), "owner": Param("owner")}, row=Row)

        with pytest.raises(ReferenceGone):
            await create.one(name="Cog", owner=1)

    @pytest.mark.parametrize("name", ["a\0b", "0123456789", "\ud800"])
    async def test_refuses_a_text_that_cannot_be_stored(self, name: str) -> None:
        with pytest.raises(ValueNotStorable):
            await insert.one(name=name, number=1)


class TestUpdate:
    async def test_returns_the_rows_it_wrote(self) -> None:
        row = await insert.one(name="one", number=1)
        add = Update(
            Sample.objects.filter(pk=Param("id")),
            {"number": F("number") + Value(1), "name": Param("name")},
            row=SampleRow,
        )

        assert await add.one(id=row.id, name="two") == SampleRow(id=row.id, name="two", number=2)
        assert await add.one_or_none(id=row.id + 1, name="two") is None

    async def test_follows_a_join(self, db: None) -> None:
        owner = await factories.make_user(email="a@example.com")
        await make_widget(owner, name="Cog")
        rename = Update(
            Widget.objects.filter(owner__email=Param("email")), {"name": Param("name")}, row=Row
        )

        assert await rename.count(email="b@example.com", name="Pin") == 0
        assert (await rename.one(email="a@example.com", name="Pin")).name == "Pin"


class TestDelete:
    async def test_returns_the_rows_that_were(self) -> None:
        row = await insert.one(name="one", number=1)
        delete = Delete(Sample.objects.filter(number=Param("number")), row=SampleRow)

        assert await delete.all(number=2) == []
        assert await delete.all(number=1) == [row]
        assert await everything.count() == 0

    async def test_follows_a_join(self, db: None) -> None:
        owner = await factories.make_user(supabase_id=uuid4())
        await make_widget(owner, name="Cog")
        delete = Delete(Widget.objects.filter(owner__supabase_id=Param("identity")), row=Row)

        assert await delete.count(identity=uuid4()) == 0
        assert await delete.all(identity=owner.supabase_id) == [Row(name="Cog")]


class Row(BaseModel):
    """A widget."""

    name: str
