"""Who sets passwords, and what becomes of them when a user gets more rights."""

import re
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import User
from tests.conftest import RunCommand
from tests.megapolis.admin.conftest import PASSWORD, MakeStaff, SignIn, Staff, orm, reload
from tests.megapolis.admin.test_users import USERS, form_of

PLANTED = {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}


@pytest.fixture
async def helper(make_staff: MakeStaff, sign_in: SignIn) -> Staff:
    """Staff who look after users."""
    await make_staff("helper@example.com", "view_user", "change_user", "add_user", "delete_user")
    return await sign_in("helper@example.com")


@pytest.fixture
async def member(make_staff: MakeStaff) -> User:
    """An ordinary user with a password that somebody may know."""
    user: User = await make_staff("member@example.com", is_staff=False)
    return user


class TestStaffWhoAreNoSuperusers:
    @pytest.mark.parametrize("method", ["get", "post"])
    async def test_set_no_password(self, method: str, helper: Staff, user: Any) -> None:
        path = f"{USERS}{user.id}/password/"
        sent = helper.get(path) if method == "get" else helper.post(path, **PLANTED)
        assert (await sent).status_code == 403
        assert not (await reload(user)).has_usable_password()

    @pytest.mark.parametrize("switch", [{"usable_password": "false"}, {"unset-password": "1"}])
    async def test_take_no_password_away(
        self, switch: dict[str, str], helper: Staff, member: User
    ) -> None:
        response = await helper.post(f"{USERS}{member.pk}/password/", **switch)
        assert response.status_code == 403
        assert (await reload(member)).check_password(PASSWORD)

    async def test_add_users_without_a_password(self, helper: Staff) -> None:
        await helper.post(f"{USERS}add/", email="new@example.com", **PLANTED, password=PASSWORD)
        user = await orm(lambda: User.objects.get(email="new@example.com"))
        assert not user.has_usable_password()

    async def test_add_users_without_anything_but_an_email(self, helper: Staff) -> None:
        extra = {"is_staff": "on", "is_superuser": "on", "supabase_id": str(uuid4()), "groups": "1"}
        await helper.post(f"{USERS}add/", email="new@example.com", **extra)
        user = await orm(lambda: User.objects.get(email="new@example.com"))
        assert (user.is_staff, user.is_superuser, user.supabase_id) == (False, False, None)

    async def test_change_no_password_and_no_supabase_id_with_the_form(
        self, helper: Staff, member: User
    ) -> None:
        extra = {"password": "!", "usable_password": "false", "supabase_id": str(uuid4())}
        await helper.post(f"{USERS}{member.pk}/change/", **form_of(member, **extra))
        changed = await reload(member)
        assert changed.check_password(PASSWORD)
        assert changed.supabase_id is None

    @pytest.mark.parametrize("path", ["add/", "{}/change/"])
    async def test_see_nothing_of_passwords(
        self, path: str, helper: Staff, superuser: Staff, member: User
    ) -> None:
        def parts(page: str) -> list[str]:
            return re.findall(r'name="\w*password\w*"|/password/', page)

        path = USERS + path.format(member.pk)
        assert parts((await helper.get(path)).text) == []
        assert parts((await superuser.get(path)).text) != []

    async def test_change_nothing_of_themselves(self, helper: Staff) -> None:
        me = await orm(lambda: User.objects.get(email="helper@example.com"))
        for page in ("change", "password", "delete"):
            response = await helper.post(f"{USERS}{me.pk}/{page}/", **form_of(me, email="x@y.com"))
            assert response.status_code == 403
        assert (await reload(me)).email == "helper@example.com"

    async def test_change_their_own_password_if_they_know_it(self, helper: Staff) -> None:
        new = {"new_password1": "another horse", "new_password2": "another horse"}
        page = await helper.post("/admin/password_change/", old_password="wrong", **new)
        assert "entered incorrectly" in page.text
        page = await helper.post("/admin/password_change/", old_password=PASSWORD, **new)
        assert "Password change successful" in page.text


class TestPromotion:
    @pytest.mark.parametrize("right", ["is_staff", "is_superuser"])
    async def test_in_the_admin_takes_the_password_away_and_says_so(
        self, right: str, superuser: Staff, make_staff: MakeStaff
    ) -> None:
        user = await make_staff("bea@example.com", is_staff=right == "is_superuser")
        rights = {"is_staff": "on", right: "on"}
        page = await superuser.post(f"{USERS}{user.pk}/change/", **form_of(user, **rights))
        promoted = await reload(user)
        assert getattr(promoted, right)
        assert not promoted.has_usable_password()
        assert "needs a new password" in page.text

    async def test_ends_the_admin_sessions_from_before(
        self, superuser: Staff, member: User, sign_in: SignIn
    ) -> None:
        staff = await sign_in("member@example.com")
        form = form_of(member, is_staff="on", is_superuser="on")
        await superuser.post(f"{USERS}{member.pk}/change/", **form)
        assert (await staff.http.get("/admin/")).status_code == 302

    async def test_is_followed_by_a_new_password(
        self, superuser: Staff, member: User, visitor: Staff
    ) -> None:
        form = form_of(member, is_staff="on", is_superuser="on")
        await superuser.post(f"{USERS}{member.pk}/change/", **form)
        new = {"password1": "another horse", "password2": "another horse"}
        path = f"{USERS}{member.pk}/password/"
        await superuser.post(path, usable_password="true", **new)
        await visitor.sign_in("member@example.com", PASSWORD)
        assert "sessionid" not in visitor.http.cookies
        await visitor.sign_in("member@example.com", "another horse")
        assert "sessionid" in visitor.http.cookies

    async def test_by_the_command_takes_the_password_away(
        self, member: User, run_command: RunCommand
    ) -> None:
        await run_command("token", "member@example.com", "--staff")
        promoted = await reload(member)
        assert promoted.is_staff
        assert not promoted.has_usable_password()

    @pytest.mark.parametrize("fields", [None, ["is_staff"], ("is_superuser", "updated_at")])
    async def test_in_code_takes_the_password_away(self, fields: Any, member: User) -> None:
        member.is_staff = member.is_superuser = True
        await orm(lambda: member.save(update_fields=fields))
        assert not (await reload(member)).has_usable_password()
        await orm(member.save)
        assert not (await reload(member)).has_usable_password()

    async def test_keeps_a_password_that_is_set_with_it(self, member: User) -> None:
        member.is_staff = True
        member.set_password("another horse")
        await orm(member.save)
        assert (await reload(member)).check_password("another horse")

    @pytest.mark.parametrize(
        "change", [{"email": "new@example.com"}, {"is_active": False}, {"is_staff": True}]
    )
    async def test_is_what_takes_it_away_and_no_other_change_of_staff(
        self, change: dict[str, Any], make_staff: MakeStaff
    ) -> None:
        user = await make_staff("ada@example.com")
        for name, value in change.items():
            setattr(user, name, value)
        await orm(user.save)
        assert (await reload(user)).check_password(PASSWORD)

    async def test_that_is_not_saved_takes_nothing_away(self, member: User) -> None:
        member.is_staff = True
        await orm(lambda: member.save(update_fields=["last_login"]))
        assert (await reload(member)).check_password(PASSWORD)

    async def test_takes_away_what_outlived_an_earlier_time_as_staff(
        self, superuser: Staff, make_staff: MakeStaff
    ) -> None:
        user = await make_staff("bea@example.com")
        await superuser.post(f"{USERS}{user.pk}/change/", **form_of(user))
        assert (await reload(user)).check_password(PASSWORD)
        await superuser.post(f"{USERS}{user.pk}/change/", **form_of(user, is_staff="on"))
        assert not (await reload(user)).has_usable_password()
