"""Sessions of the API in the admin."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts.models import ApiSession
from tests import factories
from tests.megapolis.admin.conftest import MakeStaff, SignIn, Staff, orm

SESSIONS = "/admin/accounts/apisession/"


class TestSessions:
    @pytest.mark.parametrize("where", ["list", "page"])
    async def test_are_ended_one_by_one(self, where: str, superuser: Staff, user: Any) -> None:
        session = await factories.make_session(user)
        path = SESSIONS if where == "list" else f"{SESSIONS}{session.id}/change/"
        field = "action" if where == "list" else "CHANGE_FORM-action"
        fields = {field: "end_selected", "_selected_action": [str(session.id)]}
        assert "End 1 API session?" in (await superuser.post(path, **fields)).text
        await superuser.post(path, **fields, confirmed="yes")
        assert f"session {session.id}" in (await superuser.get(f"{SESSIONS}?state=ended")).text

    async def test_are_filtered_by_their_state(self, superuser: Staff, user: Any) -> None:
        states = {
            "active": await factories.make_session(user),
            "ended": await factories.make_session(user, revoked_at=datetime.now(UTC)),
            "expired": await factories.make_session(user, lifetime=timedelta(days=-1)),
        }
        for state in states:
            page = (await superuser.get(f"{SESSIONS}?state={state}")).text
            for other, session in states.items():
                assert (f"{SESSIONS}{session.id}/change/" in page) == (other == state)

    async def test_are_found_by_their_user(self, superuser: Staff, make_user: Any) -> None:
        sessions = [
            await factories.make_session(await make_user(email=f"{name}@example.com"))
            for name in ("ada", "bea")
        ]
        page = (await superuser.get(f"{SESSIONS}?q=Ada")).text
        assert f"{SESSIONS}{sessions[0].id}/change/" in page
        assert f"{SESSIONS}{sessions[1].id}/change/" not in page

    async def test_of_staff_are_ended_by_superusers_alone(
        self, make_staff: MakeStaff, sign_in: SignIn, user: Any
    ) -> None:
        await make_staff("ada@example.com", "view_apisession", "change_apisession")
        staff = await sign_in("ada@example.com")
        others = [
            await make_staff("bea@example.com"),
            await make_staff("root@example.com", superuser=True),
            user,
        ]
        ids = [(await factories.make_session(other)).id for other in others]
        response = await staff.post(
            SESSIONS, action="end_selected", _selected_action=[*map(str, ids)], confirmed="yes"
        )
        assert "Left alone, because you may not do that: 2 API sessions." in response.text
        ended = await orm(lambda: [*ApiSession.objects.exclude(revoked_at=None)])
        assert [session.pk for session in ended] == ids[2:]

    async def test_can_be_seen_without_the_right_to_end_them(
        self, make_staff: MakeStaff, sign_in: SignIn, user: Any, client: Any
    ) -> None:
        await make_staff("ada@example.com", "view_apisession")
        staff = await sign_in("ada@example.com")
        session = await factories.make_session(user)
        assert "end_selected" not in (await staff.get(SESSIONS)).text
        await staff.post(
            SESSIONS, action="end_selected", _selected_action=[str(session.id)], confirmed="yes"
        )
        assert f"session {session.id}" not in (await staff.get(f"{SESSIONS}?state=ended")).text

    async def test_that_have_expired_are_ended_too(self, superuser: Staff, user: Any) -> None:
        """The next exchange of their Supabase session would prolong them."""
        session = await factories.make_session(user, lifetime=timedelta(days=-40))
        fields = {"action": "end_selected", "_selected_action": [str(session.id)]}
        await superuser.post(SESSIONS, **fields, confirmed="yes")
        assert f"session {session.id}" in (await superuser.get(f"{SESSIONS}?state=ended")).text

    async def test_of_a_user_are_ended_whether_expired_or_not(
        self, superuser: Staff, user: Any
    ) -> None:
        for days in (-40, 40):
            await factories.make_session(user, lifetime=timedelta(days=days))
        fields = {"action": "end_all_sessions", "_selected_action": [str(user.id)]}
        await superuser.post("/admin/accounts/user/", **fields, confirmed="yes")
        left = await orm(ApiSession.objects.filter(revoked_at=None).count)
        assert left == 0
