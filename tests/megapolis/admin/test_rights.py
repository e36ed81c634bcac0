"""What staff may see and do who are not superusers."""

from typing import Any

import pytest

from tests.megapolis.admin.conftest import PASSWORD, MakeStaff, SignIn, Staff, orm, reload

USERS = "/admin/accounts/user/"


@pytest.fixture
async def helper(make_staff: MakeStaff, sign_in: SignIn) -> Staff:
    """Staff who look after users."""
    await make_staff("helper@example.com", "view_user", "change_user", "add_user", "delete_user")
    return await sign_in("helper@example.com")


class TestStaffWithoutPermissions:
    async def test_see_an_empty_first_page(self, make_staff: MakeStaff, sign_in: SignIn) -> None:
        await make_staff("ada@example.com")
        page = (await (await sign_in("ada@example.com")).get("/admin/")).text
        assert "panel" not in page.replace("panels", "")
        assert "permission to view or edit anything" in page

    @pytest.mark.parametrize(
        "path",
        [
            "accounts/user/",
            "accounts/apisession/",
            "widgets/widget/",
            "widgets/widget/add/",
            "admin/logentry/",
            "auth/group/",
            "autocomplete/?app_label=widgets&model_name=widget&field_name=owner",
        ],
    )
    async def test_are_refused_everywhere(
        self, path: str, make_staff: MakeStaff, sign_in: SignIn
    ) -> None:
        await make_staff("ada@example.com")
        staff = await sign_in("ada@example.com")
        assert (await staff.get(f"/admin/{path}")).status_code == 403


class TestStaffWhoLookAfterUsers:
    async def test_see_on_the_first_page_what_they_may(self, helper: Staff) -> None:
        page = (await helper.get("/admin/")).text
        assert "Sign-ups" in page
        assert "New widgets" not in page

    async def test_deactivate_users(self, helper: Staff, user: Any) -> None:
        await helper.post(
            USERS, action="deactivate", _selected_action=[str(user.id)], confirmed="yes"
        )
        assert not (await reload(user)).is_active

    async def test_cannot_deactivate_staff(self, helper: Staff, make_staff: MakeStaff) -> None:
        other = await make_staff("other@example.com")
        response = await helper.post(
            USERS, action="deactivate", _selected_action=[str(other.pk)], confirmed="yes"
        )
        assert "Left alone" in response.text
        assert (await reload(other)).is_active

    @pytest.mark.parametrize("page", ["change", "password", "delete"])
    async def test_cannot_change_staff(
        self, page: str, helper: Staff, make_staff: MakeStaff
    ) -> None:
        root = await make_staff("root@example.com", superuser=True)
        response = await helper.post(
            f"{USERS}{root.pk}/{page}/",
            email="helper2@example.com",
            usable_password="true",
            password1="another horse",
            password2="another horse",
            post="yes",
        )
        assert response.status_code == 403
        assert (await reload(root)).check_password(PASSWORD)

    async def test_cannot_give_rights(self, helper: Staff, user: Any) -> None:
        await helper.post(
            f"{USERS}{user.id}/change/",
            email="renamed@example.com",
            is_active="on",
            is_staff="on",
            is_superuser="on",
            user_permissions=["1"],
        )
        changed = await reload(user)
        assert changed.email == "renamed@example.com"
        assert not changed.is_staff
        assert not changed.is_superuser
        assert await orm(changed.user_permissions.count) == 0

    async def test_cannot_delete_what_they_have_no_right_to(
        self, helper: Staff, user: Any, make_widget: Any
    ) -> None:
        await make_widget(user)
        response = await helper.post(f"{USERS}{user.id}/delete/", post="yes")
        assert response.status_code == 403
        assert await reload(user)


async def test_the_log_cannot_be_changed(superuser: Staff, user: Any) -> None:
    await superuser.post(USERS, action="deactivate", _selected_action=[str(user.id)], confirmed="y")
    from django.contrib.admin.models import LogEntry

    entry = await orm(LogEntry.objects.get)
    path = f"/admin/admin/logentry/{entry.pk}"
    assert (await superuser.get(f"{path}/change/")).status_code == 200
    for page in ("change", "delete"):
        assert (await superuser.post(f"{path}/{page}/", post="yes")).status_code == 403
    assert (await superuser.get("/admin/admin/logentry/add/")).status_code == 403
