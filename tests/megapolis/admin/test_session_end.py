"""The admin's session ends twelve hours after the sign-in, whatever happens in between."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.sessions.models import Session

from tests.megapolis.admin.conftest import PASSWORD, MakeStaff, SignIn, Staff, orm
from tests.megapolis.admin.test_users import USERS

TWELVE_HOURS = timedelta(hours=12)
A_MINUTE = timedelta(minutes=1)
NEW_PASSWORD = {
    "old_password": PASSWORD,
    "new_password1": "another horse",
    "new_password2": "another horse",
}
CHANGES: dict[str, Callable[[Staff, Any], Awaitable[Any]]] = {
    "a message": lambda staff, user: staff.post(
        USERS, action="deactivate", _selected_action=[str(user.id)], confirmed="yes"
    ),
    "a message that is shown later": lambda staff, user: staff.http.get(f"{USERS}0/change/"),
    "an action without a selection": lambda staff, user: staff.post(USERS, action="deactivate"),
    "a new group": lambda staff, user: staff.post("/admin/auth/group/add/", name="Helpers"),
    "a new password": lambda staff, user: staff.post("/admin/password_change/", **NEW_PASSWORD),
}


async def ends_at() -> datetime:
    """Return when the one session there is ends."""
    return (await orm(Session.objects.get)).expire_date


async def end_in(rest: timedelta) -> datetime:
    """Let the session end so soon, as if it had begun long ago; returns when that is."""
    end = datetime.now(UTC) + rest
    await orm(lambda: Session.objects.update(expire_date=end))
    return end


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_does_not_renew_the_session(
    change: str, superuser: Staff, user: Any
) -> None:
    end = await end_in(A_MINUTE)
    await CHANGES[change](superuser, user)
    assert await ends_at() == end


async def test_a_change_sends_no_cookie_that_outlives_the_session(
    superuser: Staff, user: Any
) -> None:
    await end_in(A_MINUTE)
    response = await superuser.http.get(f"{USERS}0/change/")
    (cookie,) = [c for c in response.headers.get_list("set-cookie") if c.startswith("sessionid")]
    (age,) = [part for part in cookie.split("; ") if part.lower().startswith("max-age")]
    assert 0 < int(age.partition("=")[2]) <= A_MINUTE.total_seconds()


async def test_a_session_that_is_over_stays_so(superuser: Staff, user: Any) -> None:
    await end_in(-A_MINUTE)
    response = await superuser.http.get(f"{USERS}0/change/")
    assert response.status_code == 302
    assert response.headers["location"].startswith("/admin/login/")


async def test_a_sign_in_is_good_for_twelve_hours(make_staff: MakeStaff, visitor: Staff) -> None:
    await make_staff("ada@example.com")
    begun = datetime.now(UTC)
    await visitor.sign_in("ada@example.com")
    assert begun + TWELVE_HOURS <= await ends_at() <= datetime.now(UTC) + TWELVE_HOURS


async def test_the_next_sign_in_is_good_for_twelve_hours_again(
    make_staff: MakeStaff, visitor: Staff
) -> None:
    await make_staff("ada@example.com")
    await visitor.sign_in("ada@example.com")
    await end_in(A_MINUTE)
    await visitor.post("/admin/logout/")
    await visitor.sign_in("ada@example.com")
    assert await ends_at() > datetime.now(UTC) + TWELVE_HOURS - A_MINUTE


async def test_a_session_from_before_the_sign_in_begins_anew(
    make_staff: MakeStaff, visitor: Staff, sign_in: SignIn
) -> None:
    from megapolis.admin.sessions import SessionStore

    def make() -> str:
        session = SessionStore()
        session["anything"] = 1
        session.create()
        return str(session.session_key)

    await make_staff("ada@example.com")
    visitor.http.cookies.set("sessionid", await orm(make), domain="127.0.0.1", path="/admin/")
    await end_in(A_MINUTE)
    await visitor.sign_in("ada@example.com")
    assert await ends_at() > datetime.now(UTC) + TWELVE_HOURS - A_MINUTE


async def test_a_change_in_async_code_does_not_renew_it_either(superuser: Staff) -> None:
    from megapolis.admin.sessions import SessionStore

    end = await end_in(A_MINUTE)
    session = SessionStore((await orm(Session.objects.get)).session_key)
    await orm(lambda: async_to_sync(session.aset)("anything", 1))
    await orm(session.save)
    assert await ends_at() == end
