"""The sign-in form."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.core.management import call_command
from django.db.models import F

from accounts.admin.sign_in_limit import PER_ACCOUNT, PER_CLIENT, WINDOW
from accounts.models import SignInAttempt, User
from tests.megapolis.admin.conftest import PASSWORD, MakeStaff, SignIn, Staff, orm

WRONG = "Please enter the correct email and password for a staff account."
TOO_MANY = "Too many attempts."


class TestSignIn:
    async def test_takes_the_email_in_any_spelling(
        self, make_staff: MakeStaff, visitor: Staff
    ) -> None:
        await make_staff("ada@example.com")
        response = await visitor.sign_in("  ADA@Example.COM ")
        assert response.url.path == "/admin/"

    @pytest.mark.parametrize("email", ["ada@example.com", "nobody@example.com", "user@example.com"])
    async def test_says_the_same_whatever_is_wrong(
        self, email: str, make_staff: MakeStaff, visitor: Staff
    ) -> None:
        await make_staff("ada@example.com")
        await make_staff("user@example.com", is_staff=False)
        guess = {"password": "guess"} if email != "user@example.com" else {}
        response = await visitor.sign_in(email, **guess)
        assert response.status_code == 200
        assert WRONG in response.text
        assert "sessionid" not in visitor.http.cookies

    async def test_refuses_deactivated_staff_like_anybody_else(
        self, make_staff: MakeStaff, visitor: Staff
    ) -> None:
        ada = await make_staff("ada@example.com")
        await orm(lambda: User.objects.filter(pk=ada.pk).update(is_active=False))
        assert WRONG in (await visitor.sign_in("ada@example.com")).text

    @pytest.mark.parametrize("email", ["nobody@example.com", "phone@example.com"])
    async def test_hashes_a_password_even_if_there_is_none_to_compare_with(
        self,
        email: str,
        make_user: Any,
        visitor: Staff,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from django.contrib.auth.hashers import MD5PasswordHasher

        hashed = []
        encode = MD5PasswordHasher.encode

        def count(self: Any, password: str, salt: str) -> str:
            hashed.append(password)
            return encode(self, password, salt)

        await make_user(email="phone@example.com")
        monkeypatch.setattr(MD5PasswordHasher, "encode", count)
        await visitor.sign_in(email, "guess")
        assert len(hashed) == 1

    async def test_asks_for_what_is_missing_without_counting_it(self, visitor: Staff) -> None:
        assert "This field is required." in (await visitor.sign_in("ada@example.com", "")).text
        assert await orm(SignInAttempt.objects.count) == 0

    async def test_works_for_who_was_made_by_createsuperuser(
        self, handler: None, visitor: Staff, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
        options = {"email": "Root@Example.com", "interactive": False, "verbosity": 0}
        await orm(lambda: call_command("createsuperuser", **options))
        assert (await visitor.sign_in("root@example.com")).url.path == "/admin/"

    async def test_deactivation_ends_a_session_of_the_admin(
        self, make_staff: MakeStaff, sign_in: SignIn
    ) -> None:
        ada = await make_staff("ada@example.com")
        staff = await sign_in("ada@example.com")
        await orm(lambda: User.objects.filter(pk=ada.pk).update(is_active=False))
        assert (await staff.get("/admin/")).url.path == "/admin/login/"


class TestTheLimit:
    async def test_refuses_even_the_right_password_after_five_wrong_ones(
        self, make_staff: MakeStaff, visitor: Staff
    ) -> None:
        await make_staff("ada@example.com")
        for _ in range(PER_ACCOUNT):
            assert WRONG in (await visitor.sign_in("ada@example.com", "guess")).text
        response = await visitor.sign_in("ada@example.com")
        assert response.status_code == 429
        assert TOO_MANY in response.text
        assert response.headers["retry-after"] == str(15 * 60)

    async def test_treats_an_account_that_does_not_exist_alike(self, visitor: Staff) -> None:
        answers = [await visitor.sign_in("nobody@example.com", "x") for _ in range(PER_ACCOUNT + 1)]
        assert [answer.status_code for answer in answers] == [200] * PER_ACCOUNT + [429]

    async def test_leaves_other_accounts_and_other_clients_alone(
        self, make_staff: MakeStaff, visitor: Staff, application: Any
    ) -> None:
        await make_staff("ada@example.com")
        await make_staff("bea@example.com")
        for _ in range(PER_ACCOUNT):
            await visitor.sign_in("ada@example.com", "guess")
        transport = httpx.ASGITransport(application, client=("198.51.100.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            assert (await Staff(http).sign_in("ada@example.com")).url.path == "/admin/"
        assert (await visitor.sign_in("bea@example.com")).url.path == "/admin/"

    @pytest.mark.parametrize("address", ["", "x" * 65, "1" * 65536])
    async def test_takes_all_whose_address_is_none_for_one_client(
        self, address: str, visitor: Staff, application: Any
    ) -> None:
        transport = httpx.ASGITransport(application, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            assert WRONG in (await Staff(http).sign_in("ada@example.com", "guess")).text
        assert (await orm(SignInAttempt.objects.get)).client == "unknown"

    async def test_forgets_failures_after_a_success(
        self, make_staff: MakeStaff, visitor: Staff
    ) -> None:
        await make_staff("ada@example.com")
        for _ in range(PER_ACCOUNT - 1):
            await visitor.sign_in("ada@example.com", "guess")
        await visitor.sign_in("ada@example.com")
        assert await orm(SignInAttempt.objects.count) == 0

    async def test_ends_with_its_window(self, make_staff: MakeStaff, visitor: Staff) -> None:
        await make_staff("ada@example.com")
        for _ in range(PER_ACCOUNT + 1):
            await visitor.sign_in("ada@example.com", "guess")
        earlier = F("attempted_at") - WINDOW - timedelta(seconds=1)
        await orm(lambda: SignInAttempt.objects.update(attempted_at=earlier))
        assert (await visitor.sign_in("ada@example.com")).url.path == "/admin/"

    async def test_holds_for_one_client_that_tries_many_accounts(self, visitor: Staff) -> None:
        from accounts.admin import sign_in_limit

        def spray() -> list[bool]:
            return [
                sign_in_limit.begin_attempt(address="192.0.2.1", email=f"{number}@example.com")
                for number in range(PER_CLIENT + 1)
            ]

        assert await orm(spray) == [True] * PER_CLIENT + [False]

    async def test_holds_for_many_attempts_at_once(self, handler: None) -> None:
        from accounts.admin import sign_in_limit

        def attempt() -> bool:
            return sign_in_limit.begin_attempt(address="192.0.2.1", email="ada@example.com")

        passed = await asyncio.gather(*[orm(attempt) for _ in range(12)])
        assert sum(passed) <= PER_ACCOUNT

    async def test_stores_nothing_that_was_typed(self, visitor: Staff) -> None:
        await visitor.sign_in("my password in the wrong field", "guess")
        attempt = await orm(SignInAttempt.objects.get)
        assert "password" not in f"{attempt.account} {attempt.client}"


class TestSessionAfterARestore:
    """Sessions of staff have random keys, and hold a hash of their user's password."""

    @pytest.mark.parametrize("superuser", [False, True])
    async def test_is_not_that_of_another_user_who_got_the_same_number(
        self, make_staff: MakeStaff, sign_in: SignIn, superuser: bool
    ) -> None:
        ada = await make_staff("ada@example.com")
        staff = await sign_in("ada@example.com")
        assert (await staff.get("/admin/")).url.path == "/admin/"
        await orm(lambda: User.objects.all().delete())
        bea = await make_staff("bea@example.com", superuser=superuser)
        await orm(lambda: User.objects.filter(pk=bea.pk).update(id=ada.pk))

        assert (await staff.get("/admin/")).url.path == "/admin/login/"

    async def test_is_not_that_of_a_user_of_the_same_number_without_a_password(
        self, make_staff: MakeStaff, make_user: Any, sign_in: SignIn
    ) -> None:
        ada = await make_staff("ada@example.com")
        staff = await sign_in("ada@example.com")
        await orm(lambda: User.objects.all().delete())
        bea = await make_user(is_staff=True)
        await orm(lambda: User.objects.filter(pk=bea.id).update(id=ada.pk))

        assert (await staff.get("/admin/")).url.path == "/admin/login/"
