"""A Chromium for tests, and the service that it visits."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from django.conf import settings
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from megapolis import environment
from tests.megapolis.admin.conftest import orm, session_of
from tests.processes import development, serving
from tests.waiting import TIMEOUT

NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
SCREENSHOTS = environment.BASE_DIR / ".artefacts" / "admin"
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
CUT_OFF = """
Array.from(document.querySelectorAll("html, .results, .panel, .inline-related"))
     .filter(element => element.scrollWidth > element.clientWidth)
     .map(element => element.className || element.tagName)
"""
"""What has to be scrolled sideways to be seen whole."""


def find_chromium() -> str:
    """Return the path of the browser. Without one the test is skipped, or with REQUIRE_BROWSER=1
    fails."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path:
        return path
    message = f"no browser is installed ({', '.join(NAMES)}), so nobody looked at the admin"
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(message)
    pytest.skip(message)


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """Start the browser."""
    path = find_chromium()
    expect.set_options(timeout=TIMEOUT * 1000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        await browser.close()


@contextmanager
def served() -> Iterator[str]:
    """Run the service in a process of its own, on this test run's database; yields its address."""
    given = {
        **development(),
        "DJANGO_SETTINGS_MODULE": "tests.megapolis.admin.settings",
        "SECRET_KEY": environment.SECRET_KEY,
        "JWT_SECRET_KEY": environment.JWT_SECRET_KEY,
    }
    with serving(given) as service:
        yield service.url
    assert "Traceback" not in "".join(service.log)


class Desk:
    """A member of staff before a screen, who keeps pictures and hears the console."""

    def __init__(self, page: Page, url: str, *, width: str) -> None:
        self.page = page
        self.url = url
        self.width = width
        self.complaints: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def open(self, path: str) -> None:
        """Load a page of the admin."""
        await self.page.goto(f"{self.url}/admin/{path}", wait_until="load")

    async def sign_in(self, email: str, password: str) -> None:
        """Fill in the sign-in form."""
        await self.open("")
        await self.page.get_by_label("Email:").fill(email)
        await self.page.get_by_label("Password:").fill(password)
        await self.page.get_by_role("button", name="Log in").click()

    async def look(self, name: str) -> None:
        """Keep a picture. Nothing may stick out of the page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{self.width}-{name}.png"
        await self.page.screenshot(path=path, full_page=True)
        assert await self.page.evaluate(CUT_OFF) == [], f"{name} does not fit a {self.width}"

    async def enter(self, user: Any) -> None:
        """Be signed in already."""
        session = await orm(lambda: session_of(user))
        name, path = settings.SESSION_COOKIE_NAME, "/admin/"
        cookie = {"name": name, "value": session, "domain": "127.0.0.1", "path": path}
        await self.page.context.add_cookies([cookie])  # type: ignore[list-item]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)
