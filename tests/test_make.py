"""`make` in a copy of what it needs, with whatever Python the test wants it to find."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from megapolis import environment

CHECKOUT = environment.BASE_DIR
TOOLS = ("sh", "make", "sed", "rm", "pwd", "printf", "touch", "dirname")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout that has only what `make` looks at, and no .venv."""
    folder = tmp_path / "copy of it"
    folder.mkdir()
    for name in ("Makefile", ".env.example", "requirements-dev.txt"):
        shutil.copy(CHECKOUT / name, folder)
    shutil.copytree(CHECKOUT / "scripts", folder / "scripts")
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder that serves as PATH: what `make` needs of the system, and no Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in TOOLS:
        program = shutil.which(name)
        if program:
            (folder / name).symlink_to(program)
    return folder


@pytest.fixture
def make(copy: Path, tools: Path) -> Any:
    # This test may itself run under `make test`.
    inherited = ("MAKE", "MFLAGS", "PYTHON")
    outside = {name: text for name, text in os.environ.items() if not name.startswith(inherited)}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [tools / "make", *arguments],
            cwd=copy,
            env={**outside, "PATH": str(tools), "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def install(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def complaints(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """What was said on stderr, without make's own report of the failed target."""
    return [line for line in done.stderr.splitlines() if "***" not in line]


class TestHelp:
    def test_lists_every_target(self, make: Any) -> None:
        phony = re.search(r"^\.PHONY: (.+)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
        assert phony
        listed = re.findall(r"^  make (\w+) +\S", make("help").stdout, re.MULTILINE)
        assert listed == phony[1].split()

    def test_is_what_make_alone_does(self, make: Any) -> None:
        assert make().stdout == make("help").stdout


class TestPython:
    def test_too_old_is_one_clear_sentence(self, make: Any, tools: Path) -> None:
        for name in ("python3", "python"):
            install(tools / name, "exit 1")
        done = make("test")
        assert done.returncode != 0
        (sentence,) = complaints(done)
        assert sentence.startswith("make: Python 3.12 or newer is needed")

    def test_missing_is_the_same_sentence(self, make: Any) -> None:
        assert "Python 3.12 or newer is needed" in make("test").stderr

    def test_that_does_not_run_is_passed_over(self, make: Any, copy: Path, tools: Path) -> None:
        install(tools / "python3.13", "echo 'version not installed' >&2; exit 127")
        (tools / "python3").symlink_to(sys.executable)
        assert make(".venv/bin/python").returncode == 0
        assert (copy / ".venv" / "bin" / "python").exists()

    def test_without_venv_names_the_package_that_brings_it(self, make: Any, tools: Path) -> None:
        install(tools / "python3", 'case "$2" in *ensurepip*) exit 1;; esac')
        (sentence,) = complaints(make("test"))
        assert sentence.startswith("make: python3 has no venv module; on Debian and Ubuntu")

    def test_that_fails_half_way_leaves_no_venv(self, make: Any, copy: Path, tools: Path) -> None:
        install(tools / "python3", 'case "$*" in *--clear*) /bin/mkdir .venv; exit 1;; esac')
        assert make("test").returncode != 0
        assert not (copy / ".venv").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_checkout_is_one_clear_sentence(make: Any, copy: Path) -> None:
    copy.chmod(0o555)
    assert complaints(make("test")) == [f"make: no permission to write in {copy}."]


class TestEnvFile:
    @pytest.fixture
    def ready(self, copy: Path) -> Path:
        """The packages count as installed, so that `make .env` only writes the file."""
        (copy / ".venv" / "bin").mkdir(parents=True)
        (copy / ".venv" / "bin" / "python").symlink_to(sys.executable)
        (copy / ".venv" / "installed").touch()
        return copy / ".env"

    def test_is_readable_by_its_owner_alone(self, make: Any, ready: Path) -> None:
        assert make(".env").returncode == 0
        assert ready.stat().st_mode & 0o777 == 0o600

    def test_has_new_secrets_that_differ(self, make: Any, ready: Path) -> None:
        make(".env")
        secrets = re.findall(r"^(?:JWT_)?SECRET_KEY=(.{64})$", ready.read_text(), re.MULTILINE)
        assert len(secrets) == len(set(secrets)) == 2

    def test_is_otherwise_the_example(self, make: Any, ready: Path) -> None:
        make(".env")
        written = re.sub(r"(SECRET_KEY)=.+", r"\1=", ready.read_text())
        assert written == (CHECKOUT / ".env.example").read_text()

    def test_that_exists_is_left_alone(self, make: Any, ready: Path, copy: Path) -> None:
        ready.write_text("MINE=1\n")
        later = ready.stat().st_mtime + 60
        os.utime(copy / ".env.example", (later, later))
        assert make(".env").returncode == 0
        assert ready.read_text() == "MINE=1\n"


class TestLocks:
    @pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
    def test_pin_every_package_with_hashes_and_name_no_index(self, name: str) -> None:
        text = (CHECKOUT / name).read_text().replace("\\\n", "")
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert all(re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line) for line in lines)
        assert "://" not in text

    def test_agree_on_versions(self) -> None:
        def pins(name: str) -> set[str]:
            return set(re.findall(r"^[\w.-]+==\S+", (CHECKOUT / name).read_text(), re.MULTILINE))

        assert pins("requirements.txt") < pins("requirements-dev.txt")

    def test_of_production_has_no_database_in_it(self) -> None:
        assert "pgserver" not in (CHECKOUT / "requirements.txt").read_text()
        assert "pgserver" in (CHECKOUT / "requirements-dev.txt").read_text()


def test_continuous_integration_runs_the_two_commands_of_a_developer() -> None:
    commands = re.findall(r"^make .*$", (CHECKOUT / ".ci" / "run").read_text(), re.MULTILINE)
    assert commands == ["make check", "make test"]
