"""What goes wrong on an ordinary day, and whether the developer is told what to do."""

from collections.abc import Iterator

import httpx
import pytest

from tests.checkout import Checkout, copied

BROKEN_MIGRATION = """
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("widgets", "0001_initial")]
    operations = [migrations.RunSQL("CREATE TABLE half (id int); SELECT 1 FROM nowhere")]
"""
BROKEN_SERVICE = """

async def get_widget(*, widget_id: int) -> WidgetResponse:
    raise RuntimeError("a mistake in the code")
"""


@pytest.fixture(scope="module")
def checkout() -> Iterator[Checkout]:
    """A checkout whose database is there."""
    with copied() as checkout:
        checkout.succeed("make .env && python manage.py initdb")
        yield checkout


class TestMigration:
    def test_that_fails_says_what_to_do_and_is_undone(self, checkout: Checkout) -> None:
        file = checkout.folder / "widgets" / "migrations" / "0002_broken.py"
        file.write_text(BROKEN_MIGRATION)
        try:
            done = checkout.run("make run")
        finally:
            file.unlink()

        assert done.returncode != 0
        assert "Applying widgets.0002_broken" in done.stdout
        assert 'The migration failed: relation "nowhere" does not exist' in done.stderr
        assert "Correct the file and migrate again" in done.stderr
        assert "Traceback" not in done.stderr
        checkout.succeed("python manage.py migrate && python manage.py upgrade")
        assert "half" not in checkout.succeed("python manage.py inspectdb")


class TestDatabase:
    def test_that_cannot_be_used_says_why_and_what_to_do(self, checkout: Checkout) -> None:
        folder = checkout.folder / ".postgres"
        folder.rename(folder.with_name("away"))
        folder.touch()
        try:
            done = checkout.run("make run")
        finally:
            folder.unlink()
            folder.with_name("away").rename(folder)

        assert done.returncode != 0
        assert ".postgres/development cannot be used: Not a directory." in done.stderr
        assert "move .postgres away" in done.stderr
        assert "Traceback" not in done.stderr + done.stdout

    def test_that_does_not_start_names_its_log(self, checkout: Checkout) -> None:
        version = checkout.folder / ".postgres" / "development" / "data" / "PG_VERSION"
        version.rename(version.with_name("away"))
        try:
            commands = [checkout.run(f"python manage.py {name}") for name in ("initdb", "run")]
        finally:
            version.with_name("away").rename(version)

        for done in commands:
            assert done.returncode != 0
            assert "did not start; its log is" in done.stderr
            assert "Traceback" not in done.stderr + done.stdout

    def test_that_is_elsewhere_and_away_names_the_variable(self, checkout: Checkout) -> None:
        url = "postgresql://somebody:secret-password@127.0.0.1:1/nothing"
        done = checkout.run("python manage.py initdb", DATABASE_URL=url)

        assert done.returncode != 0
        assert "Cannot reach PostgreSQL, which DATABASE_URL names" in done.stderr
        assert "secret-password" not in done.stderr + done.stdout


class TestMistakeInTheCode:
    def test_is_problem_json_and_a_traceback_in_the_log(self, checkout: Checkout) -> None:
        services = checkout.folder / "widgets" / "services.py"
        text = services.read_text()
        services.write_text(text + BROKEN_SERVICE)
        try:
            with checkout.serving() as log:
                token = checkout.succeed("python manage.py token you@example.com").strip()
                answer = httpx.get(
                    f"{checkout.url}/widgets/1", headers={"Authorization": f"Bearer {token}"}
                )
        finally:
            services.write_text(text)

        assert answer.status_code == 500
        assert answer.headers["Content-Type"] == "application/problem+json"
        written = "".join(log)
        assert "RuntimeError: a mistake in the code" in written
        assert "widgets/services.py" in written
        assert answer.json()["request_id"] in written
        assert token not in written


def test_arguments_of_make_test_reach_pytest(checkout: Checkout) -> None:
    said = checkout.succeed("make test ARGS='tests/test_repository.py -k every_registered -q'")
    assert "1 passed" in said
