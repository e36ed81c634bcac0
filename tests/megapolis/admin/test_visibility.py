"""Staff who may not view users see none of their emails, wherever a page refers to a user."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType

from accounts.models import User
from tests import factories
from tests.megapolis.admin.conftest import MakeStaff, SignIn, Staff, orm
from tests.megapolis.admin.test_users import USERS, form_of
from widgets.models import Widget

EMAIL = "secret@example.org"
WIDGETS = "/admin/widgets/widget/"
SESSIONS = "/admin/accounts/apisession/"
LOG = "/admin/admin/logentry/"
PERMISSIONS = (
    *(f"{verb}_widget" for verb in ("add", "view", "change", "delete")),
    *("view_apisession", "change_apisession", "view_logentry"),
)
ALL_PAGES = {
    "a form that has the user filled in": f"{WIDGETS}add/?owner={{user}}",
    "a popup": f"{WIDGETS}add/?owner={{user}}&_popup=1&_to_field=id",
    "a form": f"{WIDGETS}{{widget}}/change/",
    "a list": WIDGETS,
    "a filtered list": f"{WIDGETS}?owner__id__exact={{user}}",
    "a history": f"{WIDGETS}{{widget}}/history/",
    "a page to confirm a deletion": f"{WIDGETS}{{widget}}/delete/",
    "a list of sessions": SESSIONS,
    "a session": f"{SESSIONS}{{session}}/change/",
    "the log": LOG,
    "an entry of the log": f"{LOG}{{entry}}/change/",
    "the first page": "/admin/",
}
NAMELESS = {"a page to confirm a deletion", "the first page"}


@pytest.fixture
async def user(db: None) -> Any:
    """Somebody whose email is nobody's business."""
    return await factories.make_user(email=EMAIL, is_staff=True)


@pytest.fixture
async def pages(user: Any, make_widget: Any) -> dict[str, str]:
    """Every page that has something of the user, by its name."""
    widget = await make_widget(user, name="Cog")
    session = await factories.make_session(user)

    def log() -> LogEntry:
        kind = ContentType.objects.get_for_model(Widget)
        return LogEntry.objects.create(
            user_id=user.id,
            content_type=kind,
            object_id=widget.id,
            object_repr="Cog",
            action_flag=2,
        )

    ids = {
        "user": user.id,
        "widget": widget.id,
        "session": session.id,
        "entry": (await orm(log)).pk,
    }
    return {name: path.format(**ids) for name, path in ALL_PAGES.items()}


@pytest.fixture
async def helper(make_staff: MakeStaff, sign_in: SignIn) -> Staff:
    """Staff who may do a lot, but not view users."""
    await make_staff("helper@example.com", *PERMISSIONS)
    return await sign_in("helper@example.com")


class TestStaffWhoMayNotViewUsers:
    @pytest.mark.parametrize("name", ALL_PAGES)
    async def test_see_the_id_instead_of_the_email(
        self, name: str, helper: Staff, user: Any, pages: dict[str, str]
    ) -> None:
        response = await helper.get(pages[name])
        assert response.status_code == 200
        assert EMAIL not in response.text
        assert (f"user {user.id}" in response.text) != (name in NAMELESS)

    async def test_see_it_where_they_only_look(
        self, make_staff: MakeStaff, sign_in: SignIn, user: Any, pages: dict[str, str]
    ) -> None:
        await make_staff("viewer@example.com", "view_widget")
        page = (await (await sign_in("viewer@example.com")).get(pages["a form"])).text
        assert EMAIL not in page
        assert f"user {user.id}" in page

    async def test_see_it_in_a_form_that_comes_back(self, helper: Staff, user: Any) -> None:
        page = (await helper.post(f"{WIDGETS}add/", name="a\x07b", owner=user.id)).text
        assert "Please correct the error" in page
        assert EMAIL not in page
        assert f"user {user.id}" in page

    async def test_complete_no_email(self, helper: Staff, user: Any) -> None:
        query = "app_label=widgets&model_name=widget&field_name=owner&term=secret"
        assert (await helper.get(f"/admin/autocomplete/?{query}")).status_code == 403

    async def test_export_no_email(self, helper: Staff, user: Any, make_widget: Any) -> None:
        widget = await make_widget(user, name="Cog")
        response = await helper.post(WIDGETS, action="export", _selected_action=[str(widget.id)])
        heading, row = response.text.removeprefix("\ufeff").splitlines()
        assert heading == "id,name,owner id,created,updated"
        assert row.startswith(f"{widget.id},Cog,{user.id},")

    @pytest.mark.parametrize(
        "query",
        [
            *("?q=secret", f"?q={EMAIL}", "?user__email__exact=secret@example.org"),
            *("?user__email=secret@example.org", "?user__email__gte=a"),
        ],
    )
    @pytest.mark.parametrize("path", [SESSIONS, LOG])
    async def test_find_nobody_by_an_email(
        self, path: str, query: str, helper: Staff, user: Any, pages: dict[str, str]
    ) -> None:
        response = await helper.get(f"{path}{query}")
        assert response.status_code == 400 or f"user {user.id}" not in response.text

    async def test_find_sessions_by_a_supabase_id(self, helper: Staff, make_user: Any) -> None:
        from uuid import uuid4

        user = await make_user(supabase_id=uuid4())
        session = await factories.make_session(user)
        page = (await helper.get(f"{SESSIONS}?q={user.supabase_id}")).text
        assert f"session {session.id}" in page

    async def test_see_no_entry_of_the_log_about_a_user(
        self, helper: Staff, superuser: Staff, user: Any
    ) -> None:
        user = await orm(lambda: User.objects.get(pk=user.id))
        await superuser.post(f"{USERS}{user.pk}/change/", **form_of(user, is_staff="on"))
        entry = await orm(LogEntry.objects.get)
        assert entry.object_repr == EMAIL
        for path in (LOG, f"{LOG}?q=secret", f"{LOG}{entry.pk}/change/"):
            assert EMAIL in (await superuser.get(path)).text
            assert EMAIL not in (await helper.get(path)).text

    async def test_see_their_own_email(self, helper: Staff) -> None:
        assert "helper@example.com" in (await helper.get("/admin/")).text


@pytest.mark.parametrize("permission", ["view_user", "change_user"])
@pytest.mark.parametrize("name", [name for name in ALL_PAGES if name not in NAMELESS])
async def test_staff_who_may_view_users_see_the_email(
    name: str,
    permission: str,
    make_staff: MakeStaff,
    sign_in: SignIn,
    pages: dict[str, str],
) -> None:
    await make_staff("helper@example.com", *PERMISSIONS, permission)
    assert EMAIL in (await (await sign_in("helper@example.com")).get(pages[name])).text


async def test_a_user_without_an_email_keeps_none(superuser: Staff, user: Any) -> None:
    form = form_of(await orm(lambda: User.objects.get(pk=user.id)), email="", is_staff="on")
    await superuser.post(f"{USERS}{user.id}/change/", **form)
    assert (await orm(lambda: User.objects.get(pk=user.id))).email is None


async def test_outside_of_the_admin_a_user_is_called_by_the_email(user: Any, handler: None) -> None:
    assert str(await orm(lambda: User.objects.get(pk=user.id))) == EMAIL
