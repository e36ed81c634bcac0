"""Users in the admin."""

from html import escape
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.admin.models import LogEntry

from accounts.models import ApiSession, User
from tests import factories
from tests.megapolis.admin.conftest import PASSWORD, MakeStaff, SignIn, Staff, orm, reload

USERS = "/admin/accounts/user/"


def form_of(user: User, **changes: Any) -> dict[str, Any]:
    """What the browser would send for an unchanged form."""
    management = {"TOTAL_FORMS": 0, "INITIAL_FORMS": 0}
    fields = {f"api_sessions-{name}": value for name, value in management.items()}
    return {"email": user.email or "", "is_active": "on", **fields, **changes}


class TestTheList:
    async def test_is_searched_by_the_beginning_of_an_email_in_any_case(
        self, superuser: Staff, make_user: Any
    ) -> None:
        await make_user(email="ada@example.com")
        await make_user(email="bea@example.com")
        page = (await superuser.get(f"{USERS}?q=ADA")).text
        assert "ada@example.com" in page
        assert "bea@example.com" not in page

    async def test_is_searched_by_a_supabase_id(self, superuser: Staff, make_user: Any) -> None:
        identity = uuid4()
        await make_user(email="ada@example.com", supabase_id=identity)
        await make_user(email="bea@example.com", supabase_id=uuid4())
        page = (await superuser.get(f"{USERS}?q={identity}")).text
        assert "ada@example.com" in page
        assert "bea@example.com" not in page

    @pytest.mark.parametrize("query", ["is_active__exact=0", "last_seen_at__isnull=True"])
    async def test_is_filtered(self, query: str, superuser: Staff, make_user: Any) -> None:
        await make_user(email="gone@example.com", is_active=False)
        page = (await superuser.get(f"{USERS}?{query}")).text
        assert "gone@example.com" in page

    @pytest.mark.parametrize(
        "query",
        [
            "q=%00",
            "p=x",
            "p=99999999999999999999",
            "o=1.-2",
            "o=9",
            "is_active__exact=7",
            "password__startswith=a",
            "id__exact=99999999999999999999",
            "email__exact=%00",
            "last_seen_at__gte=x",
            "e=1",
        ],
    )
    async def test_bears_any_query(self, query: str, superuser: Staff) -> None:
        assert (await superuser.get(f"{USERS}?{query}")).status_code in {200, 400}

    @pytest.mark.parametrize("key", ["0", "99999999999999999999", "x", "%00"])
    async def test_leads_back_from_a_user_who_is_not_there(
        self, key: str, superuser: Staff
    ) -> None:
        assert (await superuser.get(f"{USERS}{key}/change/")).status_code in {200, 404}


class TestAdding:
    async def test_makes_a_user_of_the_normalised_email(self, superuser: Staff) -> None:
        await superuser.post(
            f"{USERS}add/",
            email="  Ada@Example.COM",
            usable_password="true",
            password1=PASSWORD,
            password2=PASSWORD,
        )
        user = await orm(lambda: User.objects.get(email="ada@example.com"))
        assert not user.is_staff
        assert user.check_password(PASSWORD)

    async def test_says_which_email_is_taken_in_any_case(
        self, superuser: Staff, make_user: Any
    ) -> None:
        await make_user(email="ada@example.com")
        response = await superuser.post(
            f"{USERS}add/",
            email="ADA@example.com",
            usable_password="true",
            password1=PASSWORD,
            password2=PASSWORD,
        )
        assert "User with this Email already exists." in response.text

    @pytest.mark.parametrize(
        "email", ["", "ada", "a@b\uff20c.com", "a\n@b.com", "x" * 250 + "@b.com"]
    )
    async def test_refuses_what_is_not_an_email(self, email: str, superuser: Staff) -> None:
        response = await superuser.post(f"{USERS}add/", email=email, usable_password="false")
        assert response.status_code == 200
        assert "Please correct the error" in response.text
        assert await orm(User.objects.count) == 1

    async def test_survives_that_somebody_was_quicker(
        self, superuser: Staff, make_user: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await make_user(email="ada@example.com")
        monkeypatch.setattr(User, "validate_unique", lambda *args, **kwargs: None)
        monkeypatch.setattr(User, "validate_constraints", lambda *args, **kwargs: None)
        response = await superuser.post(
            f"{USERS}add/", email="ada@example.com", usable_password="false"
        )
        assert "Not saved: it conflicts" in response.text


class TestChanging:
    async def test_the_email_of_a_supabase_user_is_left_to_supabase(
        self, superuser: Staff, make_user: Any
    ) -> None:
        user = await reload(await make_user(email="ada@example.com", supabase_id=uuid4()))
        await superuser.post(f"{USERS}{user.pk}/change/", **form_of(user, email="eve@example.com"))
        assert (await reload(user)).email == "ada@example.com"

    async def test_the_email_of_staff_can_be_changed(
        self, superuser: Staff, make_staff: MakeStaff
    ) -> None:
        user = await make_staff("ada@example.com")
        await superuser.post(f"{USERS}{user.pk}/change/", **form_of(user, email="Bea@example.com"))
        assert (await reload(user)).email == "bea@example.com"

    async def test_a_password_can_be_set(self, superuser: Staff, make_staff: MakeStaff) -> None:
        user = await make_staff("ada@example.com")
        await superuser.post(
            f"{USERS}{user.pk}/password/",
            usable_password="true",
            password1="another horse",
            password2="another horse",
        )
        assert (await reload(user)).check_password("another horse")

    async def test_ones_own_password_can_be_changed(self, superuser: Staff) -> None:
        response = await superuser.post(
            "/admin/password_change/",
            old_password=PASSWORD,
            new_password1="another horse",
            new_password2="another horse",
        )
        assert "Password change successful" in response.text

    async def test_shows_the_newest_sessions_and_no_more(self, superuser: Staff, user: Any) -> None:
        oldest, *_, newest = [await factories.make_session(user) for _ in range(21)]
        page = (await superuser.get(f"{USERS}{user.id}/change/")).text
        assert f"/admin/accounts/apisession/{newest.id}/change/" in page
        assert f"/admin/accounts/apisession/{oldest.id}/change/" not in page
        assert f"/admin/widgets/widget/?owner__id__exact={user.id}" in page


class TestActions:
    @pytest.mark.parametrize("where", ["list", "page"])
    async def test_deactivation_asks_first_and_bites_at_once(
        self, where: str, superuser: Staff, user: Any, client: Any
    ) -> None:
        path = USERS if where == "list" else f"{USERS}{user.id}/change/"
        field = "action" if where == "list" else "CHANGE_FORM-action"
        fields = {field: "deactivate", "_selected_action": [str(user.id)]}
        question = await superuser.post(path, **fields)
        assert "Deactivate 1 user?" in question.text
        assert (await client.get("/auth/me")).status_code == 200
        done = await superuser.post(path, **fields, confirmed="yes")
        assert "Deactivated: 1 user." in done.text
        assert (await client.get("/auth/me")).status_code == 401
        entry = await orm(lambda: LogEntry.objects.latest("id"))
        assert (entry.object_repr, entry.change_message) == (user.email, "Deactivated.")

    @pytest.mark.parametrize(
        ("path", "field"),
        [(f"{USERS}?q=a&o=1", "action"), (f"{USERS}{{}}/change/", "CHANGE_FORM-action")],
    )
    async def test_no_leads_back_to_where_it_was_asked_before_any_script_is_there(
        self, path: str, field: str, superuser: Staff, user: Any
    ) -> None:
        where = path.format(user.id)
        fields = {field: "deactivate", "_selected_action": [str(user.id)]}
        question = await superuser.post(where, **fields)
        assert f'href="{escape(where)}" class="button cancel-link"' in question.text

    async def test_reactivation_lets_the_user_in_again(
        self, superuser: Staff, user: Any, client: Any
    ) -> None:
        for action in ("deactivate", "reactivate"):
            await superuser.post(
                USERS, action=action, _selected_action=[str(user.id)], confirmed="yes"
            )
        assert (await client.get("/auth/me")).status_code == 200

    async def test_ending_all_sessions_refuses_their_tokens(
        self, superuser: Staff, user: Any, client: Any
    ) -> None:
        await superuser.post(
            USERS, action="end_all_sessions", _selected_action=[str(user.id)], confirmed="yes"
        )
        assert (await client.get("/auth/me")).status_code == 401
        assert (await reload(user)).is_active

    async def test_nobody_deactivates_himself(self, superuser: Staff) -> None:
        root = await orm(User.objects.get)
        response = await superuser.post(
            USERS, action="deactivate", _selected_action=[str(root.pk)], confirmed="yes"
        )
        assert "Left alone, because you may not do that: 1 user." in response.text
        assert (await reload(root)).is_active

    async def test_a_whole_filtered_list_can_be_meant(
        self, superuser: Staff, make_user: Any
    ) -> None:
        for number in range(60):
            await make_user(email=f"ada{number}@example.com")
        await superuser.post(
            f"{USERS}?q=ada",
            action="deactivate",
            select_across="1",
            _selected_action=["1"],
            confirmed="yes",
        )
        assert await orm(User.objects.filter(is_active=False).count) == 60

    @pytest.mark.parametrize("across", ["1", "2", "true"])
    async def test_more_than_can_be_paged_through_is_refused(
        self, across: str, superuser: Staff, user: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from megapolis.admin import options

        monkeypatch.setattr(options, "LISTED", 1)
        response = await superuser.post(
            USERS,
            action="deactivate",
            select_across=across,
            _selected_action=["1"],
            confirmed="yes",
        )
        assert "That is more than 1 rows" in response.text
        assert (await reload(user)).is_active


class TestDeleting:
    async def test_counts_what_goes_with_the_user(
        self, superuser: Staff, user: Any, make_widget: Any
    ) -> None:
        await make_widget(user)
        await factories.make_session(user)
        path = f"{USERS}{user.id}/delete/"
        page = (await superuser.get(path)).text
        assert "widgets: 1" in page.lower()
        await superuser.post(path, post="yes")
        assert await reload(user) is None
        assert await orm(ApiSession.objects.count) == 0

    async def test_is_refused_for_staff_who_stand_in_the_log(
        self, superuser: Staff, make_staff: MakeStaff, sign_in: SignIn
    ) -> None:
        ada = await make_staff("ada@example.com", "add_user", "change_user", "view_user")
        staff = await sign_in("ada@example.com")
        await staff.post(f"{USERS}add/", email="new@example.com", usable_password="false")
        page = await superuser.post(f"{USERS}{ada.pk}/delete/", post="yes")
        assert "1 log entries. Deactivate the user instead." in page.text
        assert await reload(ada)

    async def test_is_not_offered_for_a_selection(self, superuser: Staff, user: Any) -> None:
        await superuser.post(USERS, action="delete_selected", _selected_action=[str(user.id)])
        assert await reload(user)


async def test_a_supabase_id_is_a_uuid(superuser: Staff, make_user: Any) -> None:
    identity = UUID(int=7)
    user = await make_user(supabase_id=identity)
    assert str(identity) in (await superuser.get(f"{USERS}{user.id}/change/")).text
