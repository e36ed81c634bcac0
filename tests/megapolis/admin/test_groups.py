"""Groups in the admin, which give rights."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission

from megapolis.admin import StaffAdmin
from tests.megapolis.admin.conftest import MakeStaff, SignIn, Staff, orm

GROUPS = "/admin/auth/group/"
ALL = ("view_group", "add_group", "change_group", "delete_group")


@pytest.fixture
async def helpers(handler: None) -> Group:
    return await orm(lambda: Group.objects.create(name="Helpers"))


@pytest.fixture
async def permission(handler: None) -> str:
    """The key of a right that none of the others have."""
    return str((await orm(lambda: Permission.objects.get(codename="change_user"))).pk)


@pytest.fixture
async def helper(make_staff: MakeStaff, sign_in: SignIn, helpers: Group) -> Staff:
    """Staff with every permission for groups, and in one of them."""
    user = await make_staff("helper@example.com", *ALL)
    await orm(lambda: user.groups.add(helpers))
    return await sign_in("helper@example.com")


class TestStaffInAGroup:
    async def test_give_it_no_rights(self, helper: Staff, helpers: Group, permission: str) -> None:
        response = await helper.post(
            f"{GROUPS}{helpers.pk}/change/", name="Helpers", permissions=[permission]
        )
        assert response.status_code == 403
        assert await orm(helpers.permissions.count) == 0

    async def test_make_and_remove_none(
        self, helper: Staff, helpers: Group, permission: str
    ) -> None:
        fields = {"action": "delete_selected", "_selected_action": [str(helpers.pk)]}
        made = await helper.post(f"{GROUPS}add/", name="Others", permissions=[permission])
        removed = await helper.post(f"{GROUPS}{helpers.pk}/delete/", post="yes")
        await helper.post(GROUPS, **fields, post="yes")
        assert (made.status_code, removed.status_code) == (403, 403)
        assert await orm(Group.objects.get) == helpers

    async def test_see_it(self, helper: Staff, helpers: Group) -> None:
        assert "Helpers" in (await helper.get(GROUPS)).text
        assert (await helper.get(f"{GROUPS}{helpers.pk}/change/")).status_code == 200


class TestSuperusers:
    async def test_give_a_group_rights(
        self, superuser: Staff, helpers: Group, permission: str
    ) -> None:
        await superuser.post(
            f"{GROUPS}{helpers.pk}/change/", name="Helpers", permissions=[permission]
        )
        assert await orm(lambda: helpers.permissions.get().codename) == "change_user"

    async def test_find_a_group_by_the_beginning_of_its_name(
        self, superuser: Staff, helpers: Group
    ) -> None:
        await orm(lambda: Group.objects.create(name="My Helpers"))
        page = (await superuser.get(f"{GROUPS}?q=Help")).text
        assert ">Helpers<" in page
        assert ">My Helpers<" not in page


@pytest.mark.parametrize("model_admin", admin.site._registry.values(), ids=str)
def test_every_list_is_bounded(model_admin: Any) -> None:
    assert isinstance(model_admin, StaffAdmin)
