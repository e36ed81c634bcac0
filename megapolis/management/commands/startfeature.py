"""Django's `startapp`, for a whole feature: `startfeature gadgets`."""

import builtins
import keyword
import re
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.core.management.commands import startapp

from megapolis import environment, features
from megapolis.environment import BASE_DIR
from megapolis.management.feature_template import FOLDERS, NameClash, Names, render

REGISTRY = BASE_DIR / "megapolis" / "features.py"
OPENAPI = BASE_DIR / "docs" / "openapi.json"
RESERVED = {"admin", "docs", "static"}
"""Paths that have another use (`megapolis.urls`, `megapolis.asgi`)."""
SINGULAR_MAX_LENGTH = 19
"""Django allows 30 characters for the name of an index; `widget_owner_name` adds 11."""
WORDS = re.compile(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*")
IRREGULAR = (
    "as", "is", "us", "ss", "ies", "ves", "ses", "xes", "zes", "oes", "ches", "shes",
    "lens", "news",
)  # fmt: skip
"""Ends of words that may be more than a singular and an s: `boxes`, `companies`, `news`."""


class Command(startapp.Command):
    """Write a feature in the shape of widgets, and register it. All of it or nothing."""

    help = (
        "Create a feature with its tests, in the shape of widgets, and register it. "
        "NAME is in the plural."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the plural, such as order_lines")
        other = parser.add_mutually_exclusive_group()
        other.add_argument("--singular", help="where it is not the plural without its s")
        other.add_argument("--plural", help="where NAME is the singular")

    def handle(self, **options: Any) -> None:  # type: ignore[override] # Django takes args
        """Write the feature, and print what comes next."""
        self.app_or_project, self.a_or_an = "app", "an"
        names = _names(options["name"], singular=options["singular"], plural=options["plural"])
        self._validate(names)
        try:
            files = render(names)
        except NameClash as exc:
            raise CommandError(
                f"The code of a feature uses the name {exc} for something else. Take another name, "
                f"such as custom_{names.plural}."
            ) from None
        with _all_or_nothing(*_folders(names)):
            _write(files)
            _register(names)
            _run("manage.py", "export_openapi_schema", "--output", str(OPENAPI))
        folders = " and ".join(f"{folder.relative_to(BASE_DIR)}/" for folder in _folders(names))
        condition = "" if _migrate() else " after `python manage.py initdb`"
        self.stdout.write(
            f"Created {folders}. {names.path}/ answers{condition}.\n"
            f"Next: `make test ARGS=tests/{names.plural}`; docs/features.md explains each file."
        )

    def _validate(self, names: Names) -> None:
        _validate_words(names)
        taken = (
            (names.plural in RESERVED, "a path leads elsewhere"),
            (names.plural in _labels(), "there is an app of this name"),
            (hasattr(get_user_model(), names.plural), "users have an attribute of this name"),
            *((folder.exists(), f"{folder} exists") for folder in _folders(names)),
        )
        for is_taken, reason in taken:
            if is_taken:
                raise CommandError(f"{names.plural!r} is taken: {reason}.")
        self.validate_name(names.plural)
        _refuse_clash_in_api(names)
        if not find_spec("ruff"):
            raise CommandError("ruff is needed to format the code: install requirements-dev.txt.")


def _names(name: str, *, singular: str | None, plural: str | None) -> Names:
    if plural:
        return Names(name, plural)
    if singular:
        return Names(singular, name)
    _validate_word(name)
    if not name.endswith("s") or name.endswith(IRREGULAR):
        raise CommandError(
            f"Cannot derive the singular of {name!r}: give it with --singular. "
            "If this is the singular, give the plural with --plural."
        )
    return Names(name.removesuffix("s"), name)


def _validate_words(names: Names) -> None:
    for word in (names.singular, names.plural):
        _validate_word(word)
    if names.singular == names.plural:
        raise CommandError("Singular and plural must differ: functions are named after both.")
    if hasattr(builtins, names.singular):
        raise CommandError(f"{names.singular!r} is a name of Python itself.")
    if len(names.singular) > SINGULAR_MAX_LENGTH:
        raise CommandError(
            f"{names.singular!r} is too long: {SINGULAR_MAX_LENGTH} characters leave room for the "
            "names of its indexes."
        )


def _validate_word(word: str) -> None:
    if not WORDS.fullmatch(word):
        raise CommandError(
            f"{word!r} must be made of lower-case letters and digits, in words that begin with a "
            "letter and are joined by single underscores, such as order_lines."
        )
    if keyword.iskeyword(word) or keyword.issoftkeyword(word):
        raise CommandError(f"{word!r} is a keyword of Python.")


def _labels() -> set[str]:
    return {config.label for config in apps.get_app_configs()}


def _refuse_clash_in_api(names: Names) -> None:
    """Raise `CommandError` if the API has a type or an operation of the same name."""
    from megapolis.api import api  # noqa: PLC0415 - the URLs need not be loaded for the rest

    schema = api.get_openapi_schema()
    operations = (found for path in schema["paths"].values() for found in path.values())
    known = {*schema["components"]["schemas"], *(found["operationId"] for found in operations)}
    clashes = {names.identifiers(name) for name in known if "widget" in name.lower()} & known
    if clashes:
        raise CommandError(f"The API has {', '.join(sorted(clashes))} already: take another name.")


def _folders(names: Names) -> list[Path]:
    return [BASE_DIR / folder.parent / names.plural for folder in FOLDERS]


@contextmanager
def _all_or_nothing(*folders: Path) -> Iterator[None]:
    """Remove the folders and restore the two files if the block raises."""
    with ExitStack() as undo:
        for folder in folders:
            undo.callback(rmtree, folder, ignore_errors=True)
        for file in (REGISTRY, OPENAPI):
            undo.callback(file.write_bytes, file.read_bytes())
        yield
        undo.pop_all()


def _write(files: dict[Path, str]) -> None:
    for path, text in files.items():
        file = BASE_DIR / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    paths = [str(path) for path in files]
    _run("-m", "ruff", "check", "--fix-only", "--quiet", *paths)
    _run("-m", "ruff", "format", "--quiet", *paths)


def _register(names: Names) -> None:
    """Add its line to the list of features."""
    text = REGISTRY.read_text(encoding="utf-8")
    *_, path = features.FEATURES.values()
    last = f'"{path}",\n'
    line = f'    "{names.plural}": "{names.path}",\n'
    REGISTRY.write_text(text.replace(last, last + line), encoding="utf-8")


def _migrate() -> bool:
    """Create the table, in development only. Return whether that succeeded."""
    if environment.ENVIRONMENT != "development":
        return False
    done = subprocess.run(
        [sys.executable, "manage.py", "initdb"], cwd=BASE_DIR, check=False, capture_output=True
    )
    return done.returncode == 0


def _run(*arguments: str) -> None:
    """Run Python in a new process, which sees the new feature."""
    done = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, *arguments],
        cwd=BASE_DIR,
        env={"ENVIRONMENT": "test"},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise CommandError(f"Nothing was created: {done.stderr.strip()}")
