"""The developer guide is true: what it says is done here, and its tables are complete."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from megapolis.environment import BASE_DIR, VARIABLES
from megapolis.features import FEATURES
from tests.checkout import Checkout, copied
from tests.guide import DOCS, PAGES, add, blocks, follow

RUN = {"sh", "console", "python"}
SHOWN = {"mermaid", "text"}
GUIDE = (DOCS / "README.md").read_text()
OURS = ("accounts", "megapolis")
TOGETHER = [
    ("../README.md", "README.md", "authentication.md", "operations.md", "testing.md"),
    ("database.md",),
    ("features.md",),
]
"""Pages that are read one after the other, in one clone. TypeScript has a test of its own."""
DECISIONS = sorted(f"decisions/{path.name}" for path in DOCS.glob("decisions/*.md"))
NAMED = re.compile(r"`((?:accounts|benchmarks|megapolis|tests(?!/gadgets)|widgets)/[\w/.*-]+)`")
"""A file in the tree. The reader of the guide makes gadgets."""
CALLED_BY_MAKE = {"export_openapi_schema"}
"""`make openapi` is how people call it."""


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    """A fresh clone, whose packages are installed and whose `.env` is written."""
    with copied() as checkout:
        checkout.succeed("make .env")
        yield checkout


class TestBlocks:
    @pytest.mark.parametrize("pages", TOGETHER, ids=" ".join)
    def test_do_what_they_say(self, pages: tuple[str, ...], checkout: Checkout) -> None:
        with checkout.with_database():
            follow(pages, checkout)

    def test_are_on_pages_that_are_tested(self) -> None:
        tested = {"clients.md", *chain(*TOGETHER)}
        assert [page for page in PAGES if page not in tested and list(blocks(page))] == []

    def test_are_all_of_a_language_that_is_tested(self) -> None:
        for page in PAGES:
            known = RUN | SHOWN | ({"ts"} if page == "clients.md" else set())
            assert {block.language for block in blocks(page)} <= known, page

    def test_that_are_only_shown_are_few(self) -> None:
        shown = [block for page in PAGES for block in blocks(page) if block.language in SHOWN]
        assert len(shown) <= 3

    def test_fail_the_test_if_they_fail(self, tmp_path: Path) -> None:
        class Broken(Checkout):
            def __init__(self) -> None:
                self.folder, self.port = tmp_path, 0

        with pytest.raises(AssertionError, match="false"):
            Broken().succeed("false\ntrue")

    def test_are_added_to_the_file_that_they_name(self, tmp_path: Path) -> None:
        file = tmp_path / "folder" / "module.py"
        add(file, "import b\n\n\nb()\n")
        add(file, "import a\n\n\na()\n")
        assert file.read_text() == "import a\nimport b\n\n\nb()\n\n\na()\n"


class TestTables:
    def test_caption_every_folder(self) -> None:
        folders = {
            path.name
            for path in BASE_DIR.iterdir()
            if path.is_dir() and path.name[0] not in "._" and any(path.rglob("*.*"))
        }
        captioned = set(re.findall(r"^\| `(\w+)/` \|", GUIDE, re.MULTILINE))
        assert folders - captioned - set(FEATURES) - {"logs", "node_modules"} == set()
        assert captioned <= folders

    @pytest.mark.parametrize("document", ["docs/README.md", "README.md"])
    def test_have_every_command(self, document: str) -> None:
        text = (BASE_DIR / document).read_text()
        folders = (BASE_DIR / app / "management" / "commands" for app in OURS)
        commands = {path.stem for folder in folders for path in folder.glob("[a-z]*.py")}
        commands -= CALLED_BY_MAKE
        targets = re.findall(r"^([a-z]+):.*## ", (BASE_DIR / "Makefile").read_text(), re.MULTILINE)
        assert not [name for name in commands if not re.search(rf"\b{name}\b", text)]
        assert not [name for name in targets if f"make {name}" not in text]

    def test_describe_every_variable_as_the_example_does(self) -> None:
        operations = (DOCS / "operations.md").read_text()
        described = re.findall(r"^\| `([A-Z0-9_]+)` \| (.+) \|$", operations, re.MULTILINE)
        example = (BASE_DIR / ".env.example").read_text()
        assert [name for name, _ in described] == list(VARIABLES)
        assert re.findall(r"^# (.+)\n(\w+)=", example, re.MULTILINE) == [
            (description, name) for name, description in described
        ]
        assert re.findall(r"=(.+)", example) == ["development"], "the example holds no secret"

    def test_of_the_readme_have_every_variable(self) -> None:
        text = (BASE_DIR / "README.md").read_text()
        assert not [name for name in VARIABLES if not re.search(rf"\b{name}\b", text)]

    def test_have_every_fixture_that_they_name(self, request: pytest.FixtureRequest) -> None:
        page = (DOCS / "testing.md").read_text()
        for name in re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE):
            assert request._fixturemanager.getfixturedefs(name, request.node), name


class TestLinks:
    @pytest.mark.parametrize("page", PAGES)
    def test_lead_somewhere(self, page: str) -> None:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", (DOCS / page).read_text()):
            assert ((DOCS / page).parent / target).exists(), target

    @pytest.mark.parametrize("page", [*PAGES, *DECISIONS])
    def test_name_files_that_exist(self, page: str) -> None:
        for path in NAMED.findall((DOCS / page).read_text()):
            assert any(BASE_DIR.glob(path)), path


class Npm:
    """A folder of npm's, without a lock file, which would name the address of the registry."""

    def __init__(self, folder: Path) -> None:
        options = {"audit": "false", "fund": "false", "package_lock": "false"}
        given = {name: value for name, value in os.environ.items() if name.startswith("npm_")}
        self.folder = folder
        self.variables = {f"npm_config_{name}": value for name, value in options.items()} | given
        self.variables |= {"HOME": str(folder), "PATH": os.environ["PATH"]}

    def run(self, script: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-ec", script],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def succeed(self, script: str) -> None:
        done = self.run(script)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


class TestTypeScript:
    """The client, with the packages of npm's registry."""

    *PREPARE, CHECK = (block.text for block in blocks("clients.md") if block.language == "sh")
    (CLIENT,) = (block.text for block in blocks("clients.md") if block.language == "ts")

    @pytest.fixture(scope="class")
    @classmethod
    def npm(cls, tmp_path_factory: pytest.TempPathFactory) -> Npm:
        npm = Npm(tmp_path_factory.mktemp("client"))
        if not shutil.which("npm"):
            pytest.skip("Node is not installed: the TypeScript client is not checked.")
        if npm.run("npm ping --fetch-retries=0 --fetch-timeout=5000").returncode:
            pytest.skip("npm's registry is out of reach: the TypeScript client is not checked.")
        shutil.copy(DOCS / "openapi.json", npm.folder)
        (npm.folder / "client.ts").write_text(cls.CLIENT)
        for script in cls.PREPARE:
            npm.succeed(script)
        return npm

    def test_is_generated_and_type_checked(self, npm: Npm) -> None:
        npm.succeed(self.CHECK)
        (npm.folder / "wrong.ts").write_text(self.CLIENT.replace("data.name", "data.nmae"))
        assert "'nmae' does not exist" in npm.run(self.CHECK.replace("client", "wrong")).stdout

    def test_exchanges_when_it_must_and_for_whom_it_must(self, npm: Npm) -> None:
        npm.succeed(self.CHECK.replace("--noEmit", "--outDir built"))
        supabase = "data:text/javascript,export const createClient = () => globalThis.supabase"
        client = (npm.folder / "built" / "client.js").read_text()
        (npm.folder / "client.mjs").write_text(client.replace("@supabase/supabase-js", supabase))
        shutil.copy(BASE_DIR / "tests" / "client.mjs", npm.folder / "scenarios.mjs")
        npm.succeed("node scenarios.mjs")
