"""Widgets in the admin."""

import csv
import io
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType

from accounts.models import User
from tests.megapolis.admin.conftest import Staff, orm
from widgets.models import Widget

WIDGETS = "/admin/widgets/widget/"


async def reload(widget: Any) -> Widget:
    return await orm(lambda: Widget.objects.select_related("owner").get(pk=widget.id))


class TestTheList:
    async def test_is_searched_by_the_beginning_of_a_name_in_any_case(
        self, superuser: Staff, user: Any, make_widget: Any
    ) -> None:
        for name in ("Ärger 1", "ärger 2", "Kein Ärger", "100%"):
            await make_widget(user, name=name)
        page = (await superuser.get(f"{WIDGETS}?q=ÄRG")).text
        assert page.index("Ärger 1") < page.index("ärger 2")
        assert "Kein" not in page
        assert "100%" in (await superuser.get(f"{WIDGETS}?q=100%25")).text

    async def test_makes_the_same_number_of_queries_for_any_number_of_rows(
        self, superuser: Staff, make_user: Any, make_widget: Any, statements: list[str]
    ) -> None:
        async def queries() -> int:
            statements.clear()
            await superuser.get(WIDGETS)
            return len(statements)

        await make_widget(await make_user())
        few = await queries()
        for _ in range(30):
            await make_widget(await make_user())
        assert await queries() == few

    async def test_counts_and_pages_no_further_than_its_bound(
        self,
        superuser: Staff,
        user: Any,
        make_widget: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from megapolis.admin import options

        monkeypatch.setattr(options, "LISTED", 60)
        for _ in range(70):
            await make_widget(user)
        page = (await superuser.get(WIDGETS)).text
        assert "More than 60 widgets" in page
        assert "?p=2" in page
        assert "?p=3" not in page
        assert "Select all 60" not in page

    @pytest.mark.parametrize("days", ["1", "7", "30"])
    async def test_is_filtered_by_when_they_were_created(
        self, days: str, superuser: Staff, user: Any, make_widget: Any
    ) -> None:
        from datetime import timedelta

        from django.db.models.functions import Now

        old, _ = await make_widget(user, name="Old"), await make_widget(user, name="New")
        long_ago = Now() - timedelta(days=int(days), minutes=1)
        await orm(lambda: Widget.objects.filter(pk=old.id).update(created_at=long_ago))
        page = (await superuser.get(f"{WIDGETS}?days={days}")).text
        assert ">New<" in page
        assert ">Old<" not in page

    @pytest.mark.parametrize("query", ["days=x", "q=%00", "owner__id__exact=x", "o=2", "o=1.-3"])
    async def test_bears_any_query(self, query: str, superuser: Staff) -> None:
        assert (await superuser.get(f"{WIDGETS}?{query}")).status_code == 200


class TestChanging:
    async def test_renames_a_widget_and_says_so_in_the_log(
        self, superuser: Staff, user: Any, make_widget: Any
    ) -> None:
        widget = await make_widget(user)
        await superuser.post(f"{WIDGETS}{widget.id}/change/", name="  Cog ", owner=user.id)
        assert (await reload(widget)).name == "Cog"
        log = (await superuser.get("/admin/admin/logentry/?q=root")).text
        assert "Changed Name." in log
        kinds = await orm(lambda: ContentType.objects.get_for_models(Widget, User))
        for query, count in {
            "q=Co": 1,
            f"content_type__id__exact={kinds[Widget].pk}": 1,
            f"content_type__id__exact={kinds[User].pk}": 0,
            "content_type__id__exact=x": 1,
        }.items():
            log = (await superuser.get(f"/admin/admin/logentry/?{query}")).text
            assert log.count("Changed Name.") == count

    async def test_takes_the_names_that_the_api_takes(
        self, superuser: Staff, user: Any, make_widget: Any
    ) -> None:
        widget = await make_widget(user, name="Sprocket")
        path = f"{WIDGETS}{widget.id}/change/"
        response = await superuser.post(path, name="a\x07b", owner=user.id)
        assert "must not contain control characters" in response.text
        await superuser.post(path, name="e\u0301", owner=user.id)
        assert (await reload(widget)).name == "\xe9"

    async def test_says_that_a_name_is_taken(
        self, superuser: Staff, user: Any, make_widget: Any
    ) -> None:
        await make_widget(user, name="Cog")
        response = await superuser.post(f"{WIDGETS}add/", name="Cog", owner=user.id)
        assert "already exists" in response.text

    async def test_finds_owners_as_they_are_typed(self, superuser: Staff, make_user: Any) -> None:
        ada = await make_user(email="ada@example.com")
        await make_user(email="bea@example.com")
        query = "term=AD&app_label=widgets&model_name=widget&field_name=owner"
        response = await superuser.get(f"/admin/autocomplete/?{query}")
        assert response.json()["results"] == [{"id": str(ada.id), "text": "ada@example.com"}]

    async def test_gives_a_widget_to_somebody_else(
        self, superuser: Staff, user: Any, make_user: Any, make_widget: Any
    ) -> None:
        widget, heir = await make_widget(user), await make_user(email="heir@example.com")
        await superuser.post(f"{WIDGETS}{widget.id}/change/", name=widget.name, owner=heir.id)
        assert (await reload(widget)).owner.email == "heir@example.com"

    async def test_deletes_a_selection(self, superuser: Staff, user: Any, make_widget: Any) -> None:
        widgets = [await make_widget(user) for _ in range(3)]
        chosen = [str(widget.id) for widget in widgets[:2]]
        fields = {"action": "delete_selected", "_selected_action": chosen}
        assert "Are you sure" in (await superuser.post(WIDGETS, **fields)).text
        await superuser.post(WIDGETS, **fields, post="yes")
        assert await orm(Widget.objects.get) == await reload(widgets[2])
        assert await orm(LogEntry.objects.count) == 2


class TestTheExport:
    async def export(self, staff: Staff, *widgets: Any) -> list[list[str]]:
        chosen = [str(widget.id) for widget in widgets]
        response = await staff.post(WIDGETS, action="export", _selected_action=chosen)
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        assert response.headers["content-disposition"] == 'attachment; filename="widgets.csv"'
        assert response.text.startswith("\ufeff")
        return list(csv.reader(io.StringIO(response.text.removeprefix("\ufeff"), newline="")))

    async def test_holds_the_selection_in_order(
        self, superuser: Staff, user: Any, make_widget: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from megapolis.admin import export

        monkeypatch.setattr(export, "CHUNK", 2)
        widgets = [await make_widget(user) for _ in range(6)]
        head, *rows = await self.export(superuser, *widgets[:5])
        assert head == ["id", "name", "owner id", "owner", "created", "updated"]
        assert [row[:4] for row in rows] == [
            [str(widget.id), widget.name, str(user.id), user.email] for widget in widgets[:5]
        ]

    @pytest.mark.parametrize(
        "name", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("x","y")', "\uff1d1", 'a,b"c']
    )
    async def test_holds_no_formula(
        self, name: str, superuser: Staff, user: Any, make_widget: Any
    ) -> None:
        _, (_, cell, *_) = await self.export(superuser, await make_widget(user, name=name))
        assert cell == (name if name.startswith("a") else f"'{name}")
