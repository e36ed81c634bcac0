"""Staff at the admin's door: in this process over HTTP, and in a browser against a real server."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.db import connections

from tests.conftest import MakeClient
from tests.megapolis.admin.settings import PASSWORD_HASHERS

PASSWORD = "correct horse battery staple"
CSRF = "a" * 32

type MakeStaff = Callable[..., Awaitable[Any]]
type SignIn = Callable[[str], Awaitable["Staff"]]


async def orm[Result](function: Callable[[], Result]) -> Result:
    """Call something that uses Django's ORM, in a thread that leaves no connection behind."""

    def call() -> Result:
        try:
            return function()
        finally:
            connections.close_all()

    return await asyncio.to_thread(call)


async def reload(user: Any) -> Any:
    """The user as the database has him now, or None."""
    from accounts.models import User

    return await orm(User.objects.filter(pk=user.pk if isinstance(user, User) else user.id).first)


def session_of(user: Any) -> str:
    """Sign a user in without a password; returns what is in the cookie."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


class Staff:
    """A browser without eyes: keeps cookies, follows redirects, and knows the CSRF token."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def get(self, path: str) -> httpx.Response:
        """Load a page."""
        return await self.http.get(path, follow_redirects=True)

    async def post(self, path: str, **fields: Any) -> httpx.Response:
        """Send a form; a list is a field that is given several times."""
        token = self.http.cookies["csrftoken"]
        data = {"csrfmiddlewaretoken": token, **fields}
        return await self.http.post(path, data=data, follow_redirects=True)

    async def sign_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        """Fill in the sign-in form."""
        await self.get("/admin/login/")
        return await self.post("/admin/login/?next=/admin/", username=email, password=password)


@pytest.fixture
def handler(db: None, django_db_blocker: Any) -> Iterator[None]:
    """The admin uses Django's own connections, and remembers nothing of other tests."""
    cache.clear()
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = PASSWORD_HASHERS


@pytest.fixture
def make_staff(handler: None) -> MakeStaff:
    """`await make_staff(email, "view_widget")` makes staff with these permissions.

    `superuser=True` gives all of them, `is_staff=False` makes an ordinary user with a password.
    """
    from django.contrib.auth.models import Permission

    from accounts.models import User

    async def make(
        email: str, *permissions: str, superuser: bool = False, is_staff: bool = True
    ) -> User:
        def create() -> User:
            user = User.objects.create_user(
                email, PASSWORD, is_staff=is_staff, is_superuser=superuser
            )
            user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
            return user

        return await orm(create)

    return make


@pytest.fixture
async def visitor(make_client: MakeClient, handler: None, quick_passwords: None) -> Staff:
    """Somebody who has not signed in."""
    return Staff(await make_client())


@pytest.fixture
def sign_in(make_client: MakeClient, handler: None, quick_passwords: None) -> SignIn:
    """`await sign_in(email)` returns a member of staff at work."""

    from accounts.models import User

    async def enter(email: str) -> Staff:
        http = await make_client()
        session = await orm(lambda: session_of(User.objects.get(email=email)))
        http.cookies.set("sessionid", session, domain="127.0.0.1", path="/admin/")
        http.cookies.set("csrftoken", CSRF, domain="127.0.0.1", path="/admin/")
        return Staff(http)

    return enter


@pytest.fixture
async def superuser(make_staff: MakeStaff, sign_in: SignIn) -> Staff:
    """A superuser at work."""
    await make_staff("root@example.com", superuser=True)
    return await sign_in("root@example.com")


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The SQL of each statement that Django's ORM sends meanwhile."""
    from django.db.backends.utils import CursorWrapper

    sent: list[str] = []
    execute = CursorWrapper.execute

    def record(self: Any, sql: str, params: Any = None) -> Any:
        sent.append(sql)
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", record)
    return sent
