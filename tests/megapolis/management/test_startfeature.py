"""`manage.py startfeature`: a feature that works as it is, or a sentence and no trace."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from megapolis.environment import BASE_DIR
from megapolis.management.commands import startfeature
from megapolis.management.feature_template import FOLDERS, NameClash, Names, rename, render
from tests.checkout import TIMEOUT, Checkout, copied
from tests.waiting import until

LONGEST = "purchase_order_lines"
FOLDERS_OF_LONGEST = f"{LONGEST} tests/{LONGEST}"
PATH = "/purchase-order-lines/"
FREE = "unheard_of_things"
"""A name that no feature has, also where somebody has followed the guide, which makes gadgets."""


@pytest.fixture(scope="module")
def answered() -> Iterator[tuple[Checkout, httpx.Response, httpx.Response]]:
    """A checkout in which `startfeature` was run with the longest name that it takes, while the
    service ran: then something was created there, and searched."""
    with copied() as checkout:
        with checkout.serving():
            checkout.succeed(f"python manage.py startfeature {LONGEST}")
            token = checkout.succeed("python manage.py token staff@example.com").strip()
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=f"{checkout.url}{PATH}", headers=headers) as client:
                until(lambda: answers(client), within=TIMEOUT)
                created = client.post("", json={"name": "Sprocket"})
                found = client.get("", params={"search": "spr"})
        yield checkout, created, found


def answers(client: httpx.Client) -> bool:
    """Whether there is a service, and it has started again with the feature."""
    try:
        return client.get("").status_code != 404
    except httpx.TransportError:
        return False


@pytest.fixture
def generated(answered: tuple[Checkout, httpx.Response, httpx.Response]) -> Checkout:
    return answered[0]


class TestGeneratedFeature:
    def test_passes_the_checks(self, generated: Checkout) -> None:
        generated.succeed(
            f"ruff check {FOLDERS_OF_LONGEST} && ruff format --check {FOLDERS_OF_LONGEST} &&"
            f"python -m mypy {FOLDERS_OF_LONGEST} && python scripts/import_contracts.py &&"
            "python manage.py makemigrations --check --dry-run",
            ENVIRONMENT="test",
        )

    def test_passes_its_tests(self, generated: Checkout) -> None:
        generated.succeed(f"python -m pytest -q tests/{LONGEST}")

    def test_is_in_the_openapi_document(self, generated: Checkout) -> None:
        written = json.loads((generated.folder / "docs" / "openapi.json").read_text())
        exported = generated.succeed("python manage.py export_openapi_schema", ENVIRONMENT="test")
        assert f"{PATH}{{purchase_order_line_id}}" in written["paths"]
        assert json.loads(exported) == written

    def test_answers_over_http_at_once(
        self, answered: tuple[Checkout, httpx.Response, httpx.Response]
    ) -> None:
        _, created, found = answered
        assert created.status_code == 201, created.text
        assert created.headers["Location"] == f"{PATH}{created.json()['id']}"
        assert found.json()["items"] == [created.json()]

    def test_fails_the_tests_by_name_without_its_line(self, generated: Checkout) -> None:
        registry = generated.folder / "megapolis" / "features.py"
        text = registry.read_text()
        line = f'    "{LONGEST}": "/purchase-order-lines",\n'
        assert line in text
        folders = (path.name for path in (generated.folder / "tests").iterdir() if path.is_dir())
        others = " ".join(f"--ignore=tests/{name}" for name in folders if name != LONGEST)
        try:
            registry.write_text(text.replace(line, ""))
            done = generated.run(f"python -m pytest -q -k is_registered {others}")
        finally:
            registry.write_text(text)
        assert done.returncode != 0
        assert f"{LONGEST}/ is not registered: it has no line in megapolis/features.py" in (
            done.stdout
        )


@pytest.fixture
def nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*folders: Path) -> None:
        pytest.fail("something would have been written")

    monkeypatch.setattr(startfeature, "_all_or_nothing", fail)


@pytest.mark.usefixtures("nothing_is_written")
class TestRefusal:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["Gadgets"], "must be made of lower-case letters"),
            (["order-lines"], "must be made of lower-case letters"),
            (["order__lines"], "must be made of lower-case letters"),
            (["_gadgets"], "must be made of lower-case letters"),
            (["../gadgets"], "must be made of lower-case letters"),
            (["2nds"], "must be made of lower-case letters"),
            (["gädgets"], "must be made of lower-case letters"),
            ([""], "must be made of lower-case letters"),
            (["import"], "is a keyword of Python"),
            (["classes", "--singular", "class"], "is a keyword of Python"),
            (["matches", "--singular", "match"], "is a keyword of Python"),
            (["lists"], "'list' is a name of Python itself"),
            (["sheep", "--singular", "sheep"], "Singular and plural must differ"),
            (["boxes"], "give it with --singular"),
            (["companies"], "give it with --singular"),
            (["news"], "give it with --singular"),
            (["gadget"], "give the plural with --plural"),
            (["gadgets", "--singular", "g", "--plural", "gs"], "not allowed with argument"),
            (["purchase_order_lines2", "--singular", "purchase_order_line2"], "is too long"),
            (["widgets"], "'widgets' is taken: there is an app of this name"),
            (["accounts"], "'accounts' is taken: there is an app of this name"),
            (["sessions"], "'sessions' is taken: there is an app of this name"),
            (["tests"], r"'tests' is taken: .*tests exists"),
            (["docs"], "'docs' is taken: a path leads elsewhere"),
            (["admin", "--singular", "administrator"], "'admin' is taken: a path leads elsewhere"),
            (["groups"], "'groups' is taken: users have an attribute of this name"),
            (["types", "--singular", "kind"], "name of an existing Python module"),
            (["secrets"], "name of an existing Python module"),
            (["tokens"], "The API has .*TokenResponse.* already"),
            (["users"], "The API has .*UserResponse.* already"),
            (["statuses", "--singular", "status"], "uses the name status for something else"),
            (["owners"], "uses the name owner for something else"),
        ],
    )
    def test_is_one_sentence(self, arguments: list[str], sentence: str) -> None:
        with pytest.raises(CommandError, match=sentence):
            call_command("startfeature", *arguments)

    def test_needs_the_formatter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(startfeature, "find_spec", lambda name: None)
        with pytest.raises(CommandError, match="ruff is needed"):
            call_command("startfeature", FREE)


class TestFailureHalfWay:
    @pytest.mark.parametrize("step", ["ruff", "export_openapi_schema"])
    @pytest.mark.parametrize("error", [CommandError, KeyboardInterrupt])
    def test_leaves_nothing(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        step: str,
        error: type[BaseException],
    ) -> None:
        for path in (startfeature.REGISTRY, startfeature.OPENAPI):
            copy = tmp_path / path.relative_to(BASE_DIR)
            copy.parent.mkdir()
            shutil.copy(path, copy)
        before = snapshot(tmp_path)

        def run(*arguments: str) -> None:
            assert snapshot(tmp_path) != before
            if step in arguments:
                raise error

        monkeypatch.setattr(startfeature, "BASE_DIR", tmp_path)
        monkeypatch.setattr(startfeature, "REGISTRY", tmp_path / "megapolis" / "features.py")
        monkeypatch.setattr(startfeature, "OPENAPI", tmp_path / "docs" / "openapi.json")
        monkeypatch.setattr(startfeature, "_run", run)
        with pytest.raises(error):
            call_command("startfeature", FREE)
        assert {path: text for path, text in snapshot(tmp_path).items() if text} == before

    def test_of_a_program_is_told_in_its_words(self) -> None:
        with pytest.raises(CommandError, match=r"Nothing was created: .*No module named nothing"):
            startfeature._run("-m", "nothing")


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestTemplate:
    def test_is_widgets_itself(self) -> None:
        for path, text in render(Names("widget", "widgets")).items():
            assert text == (BASE_DIR / path).read_text(), path

    def test_has_every_file_of_widgets(self) -> None:
        rendered = {str(path) for path in render(Names("gadget", "gadgets"))}
        for folder in FOLDERS:
            for file in (BASE_DIR / folder).rglob("*"):
                if file.is_file() and "__pycache__" not in file.parts:
                    name = str(file.relative_to(BASE_DIR))
                    assert name.replace("widget", "gadget") in rendered, f"{name} is not Python"

    def test_leaves_no_widget_behind(self) -> None:
        for path, text in render(Names("gadget", "gadgets")).items():
            assert "widget" not in text.lower(), path

    @pytest.mark.parametrize(
        ("source", "renamed"),
        [
            ("from widgets import services", "from order_lines import services"),
            ("widget = WidgetResponse(widgets)", "order_line = OrderLineResponse(order_lines)"),
            ("class NotFound:\n    '''No widget.'''", "class NotFound:\n    '''No order line.'''"),
            ("'Widget not found'", "'Order line not found'"),
            ("'A widget of a user'", "'An order line of a user'"),
            ("f'/widgets/{widget.id}'", "f'/order-lines/{order_line.id}'"),
            ("# the widgets, `Widget`", "# the order lines, `OrderLine`"),
            ("'/admin/widgets/widget/'", "'/admin/order_lines/orderline/'"),
            ("'DELETE FROM widgets_widget'", "'DELETE FROM order_lines_orderline'"),
            ("list_widgets(widget_id)", "list_order_lines(order_line_id)"),
        ],
    )
    def test_renames_code_and_prose(self, source: str, renamed: str) -> None:
        assert rename(f"{source}\n", Names("order_line", "order_lines")) == f"{renamed}\n"

    @pytest.mark.parametrize(
        ("name", "article"), [("unit", "a"), ("user", "a"), ("item", "an"), ("gadget", "a")]
    )
    def test_takes_the_right_article(self, name: str, article: str) -> None:
        assert rename("'a widget'\n", Names(name, f"{name}s")) == f"'{article} {name}'\n"

    def test_rejects_a_name_with_another_meaning(self) -> None:
        with pytest.raises(NameClash, match="owner"):
            rename("widget = owner\n", Names("owner", "owners"))


@pytest.mark.parametrize(
    ("is_migrated", "condition"), [(True, ""), (False, " after `python manage.py initdb`")]
)
def test_says_what_comes_next(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, is_migrated: bool, condition: str
) -> None:
    from contextlib import nullcontext

    monkeypatch.setattr(startfeature, "_all_or_nothing", lambda *folders: nullcontext())
    monkeypatch.setattr(startfeature, "_migrate", lambda: is_migrated)
    for name in ("_write", "_register", "_run"):
        monkeypatch.setattr(startfeature, name, lambda *arguments: None)
    call_command("startfeature", "person", plural="people")
    said = capsys.readouterr().out
    assert f"Created people/ and tests/people/. /people/ answers{condition}.\n" in said
    assert "make test ARGS=tests/people" in said


def test_leaves_a_database_alone_that_is_not_for_development() -> None:
    assert not startfeature._migrate()
