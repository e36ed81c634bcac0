"""What staff do, in a real browser against a running service, at desktop and phone width."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests import factories
from tests.megapolis.admin.browser import WIDTHS, Desk, launched, served
from tests.megapolis.admin.conftest import PASSWORD, MakeStaff, reload

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def service(browser: Browser, pool: None) -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture(params=WIDTHS)
async def desk(
    request: pytest.FixtureRequest,
    service: str,
    browser: Browser,
    handler: None,
    quick_passwords: None,
) -> AsyncIterator[Desk]:
    """A desk at which nobody has signed in. Its console has to stay silent."""
    width, height = WIDTHS[request.param]
    context = await browser.new_context(viewport={"width": width, "height": height})
    desk = Desk(await context.new_page(), service, width=request.param)
    yield desk
    await context.close()
    assert desk.complaints == []


@pytest.fixture
async def root(desk: Desk, make_staff: MakeStaff) -> Desk:
    """A desk at which a superuser sits."""
    await desk.enter(await make_staff("root@example.com", superuser=True))
    return desk


@pytest.fixture
async def population(make_user: Any, make_widget: Any) -> Any:
    """Some users and widgets; returns the user called Ada."""
    ada = await make_user(email="ada.lovelace@example.com")
    for number in range(60):
        user = await make_user(email=f"person{number}@example.com", is_active=number % 7 > 0)
        await make_widget(user)
    await factories.make_session(ada)
    await make_widget(ada, name="Sprocket")
    return ada


async def test_staff_deactivate_a_user_whose_token_is_then_refused(
    desk: Desk, make_staff: MakeStaff, population: Any, service: str
) -> None:
    root, page = desk, desk.page
    await make_staff("root@example.com", superuser=True)
    await root.sign_in("root@example.com", PASSWORD)
    headers = {"Authorization": f"Bearer {await factories.make_token(population)}"}
    async with httpx.AsyncClient(base_url=service, headers=headers) as api:
        assert (await api.get("/auth/me")).status_code == 200
        await expect(page.get_by_role("heading", name="At a glance")).to_be_visible()
        await root.look("first-page")
        await page.get_by_role("link", name="Users", exact=True).first.click()
        await page.get_by_role("textbox", name="Search").fill("Ada")
        await page.get_by_role("button", name="Search").click()
        await root.look("users-found")
        await page.get_by_role("checkbox", name="Select this object for an action").check()
        await page.get_by_label("Action:").select_option(label="Deactivate")
        await page.get_by_role("button", name="Run").click()
        await expect(page.get_by_role("heading", name="Deactivate 1 user?")).to_be_visible()
        await root.look("deactivate")
        assert (await api.get("/auth/me")).status_code == 200
        await page.get_by_role("button", name="Deactivate").click()
        await expect(page.get_by_text("Deactivated: 1 user.")).to_be_visible()
        await root.look("deactivated")
        assert (await api.get("/auth/me")).status_code == 401


async def test_staff_rename_a_widget_and_give_it_to_somebody_else(
    root: Desk, population: Any
) -> None:
    page = root.page
    await root.open("widgets/widget/?q=sprock")
    await page.get_by_role("link", name="Sprocket").click()
    await page.get_by_label("Name:").fill("Cog")
    await page.get_by_role("combobox", name="ada.lovelace@example.com").click()
    await page.locator(".select2-search__field").fill("person59")
    await expect(page.get_by_role("option")).to_have_text(["person59@example.com"])
    await root.look("owner")
    await page.get_by_role("option").click()
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text(re.compile("Cog.*was changed successfully"))).to_be_visible()
    await root.open("widgets/widget/")
    await expect(page.get_by_role("row", name="Cog person59@example.com")).to_be_visible()
    await root.look("widgets")


async def test_staff_end_a_session_from_the_page_of_its_user(root: Desk, population: Any) -> None:
    page = root.page
    await root.open(f"accounts/user/{population.id}/change/")
    await root.look("user")
    await page.get_by_role("link", name="View", exact=True).click()
    await root.look("session")
    await page.get_by_label("Action:").select_option(label="End sessions")
    await page.get_by_role("button", name="Run").click()
    await page.get_by_role("button", name="End", exact=True).click()
    await expect(page.get_by_text("Ended: 1 API session.")).to_be_visible()
    await root.open("accounts/apisession/")
    await root.look("sessions")
    await root.open("admin/logentry/")
    await expect(page.get_by_text("Ended.")).to_be_visible()
    await root.look("log")


async def test_staff_add_somebody(root: Desk) -> None:
    page = root.page
    await root.open("accounts/user/add/")
    await root.look("user-add")
    await page.get_by_label("Email:").fill("new@example.com")
    await page.get_by_label("Password:", exact=True).fill("12345678")
    await page.get_by_label("Password confirmation:").fill("12345678")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("This password is too common.")).to_be_visible()
    await root.look("user-add-refused")
    await page.get_by_label("Password:", exact=True).fill(PASSWORD)
    await page.get_by_label("Password confirmation:").fill(PASSWORD)
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_role("heading", name="Change user")).to_be_visible()
    await root.page.get_by_text("Rights").click()
    await root.look("user-rights")


async def test_others_stay_outside_and_learn_nothing(desk: Desk, make_staff: MakeStaff) -> None:
    await make_staff("root@example.com", superuser=True)
    await make_staff("user@example.com", is_staff=False)
    wrong_password, not_staff, nobody = (
        ("root@example.com", "guess"),
        ("user@example.com", PASSWORD),
        ("nobody@example.com", "guess"),
    )
    for email, password in (wrong_password, not_staff, nobody):
        await desk.sign_in(email, password)
        message = "Please enter the correct email and password for a staff account."
        await expect(desk.page.get_by_text(message)).to_be_visible()
    await desk.look("rejected")
    await desk.open("accounts/user/")
    await expect(desk.page.get_by_role("button", name="Log in")).to_be_visible()


async def test_a_confirmation_that_is_declined_changes_nothing(root: Desk, population: Any) -> None:
    page = root.page
    await root.open(f"accounts/user/{population.id}/change/")
    await page.get_by_label("Action:").select_option(label="Deactivate")
    await page.get_by_role("button", name="Run").click()
    await page.get_by_role("button", name="No, take me back").click()
    await expect(page.get_by_role("heading", name="Change user")).to_be_visible()
    assert (await reload(population)).is_active
