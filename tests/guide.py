"""Reads the guide's code blocks, and does in a checkout what a reader would do with them."""

import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from megapolis.environment import BASE_DIR
from tests.checkout import Checkout

DOCS = BASE_DIR / "docs"
PAGES = ["../README.md", *sorted(path.name for path in DOCS.glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w/]+\.py)\n")
VARYING = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|[0-9a-f]{32}")
"""A time, and the id of a request."""
SERVICE = "http://127.0.0.1:8000"
IMPORTS = re.compile(r"(?:(?:from|import) .+\n)*")


class Block(NamedTuple):
    """A fenced block: its language and its text."""

    language: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """Yield what is in fences. A reader who has made gadgets before takes another name."""
    page_text = (DOCS / page).read_text()
    if (BASE_DIR / "gadgets").exists():
        page_text = page_text.replace("gadget", "doodad").replace("Gadget", "Doodad")
    for language, text in FENCE.findall(page_text):
        yield Block(language, text)


def follow(pages: Iterable[str], checkout: Checkout) -> None:
    """Do everything that the pages say, in their order.

    `make run` goes on until a file is changed, or to the end.
    """
    with ExitStack() as stack:
        is_served = False
        for block in chain(*map(blocks, pages)):
            if block == Block("sh", "make run\n"):
                if not is_served:
                    stack.enter_context(checkout.serving())
                is_served = True
            elif block.language == "sh":
                checkout.succeed(here(block.text, checkout))
            elif block.language == "console":
                compare(block.text, checkout)
            elif file := FILE.match(block.text):
                stack.close()
                is_served = False
                add(checkout.folder / file[1], block.text[file.end() :])
            elif block.language == "python":
                (checkout.folder / "block.py").write_text(block.text)
                checkout.succeed("set -a && . ./.env && python block.py")


def here(text: str, checkout: Checkout) -> str:
    return text.replace(SERVICE, checkout.url)


def compare(text: str, checkout: Checkout) -> None:
    """Run what stands behind each `$`, in one shell, and expect the lines that follow it.

    What differs from run to run, such as a time, need only be there.
    """
    commands = re.findall(r"^\$ (.+)$", text, re.MULTILINE)
    script = "".join(f"echo '$ '{shlex.quote(command)}\n{command}\necho\n" for command in commands)
    printed = checkout.succeed(here(script, checkout)).replace(checkout.url, SERVICE)
    assert steady(printed) == steady(text)


def steady(text: str) -> str:
    """The text without blank lines, and without what differs from run to run."""
    lines = "\n".join(line for line in text.splitlines() if line)
    return VARYING.sub("...", lines)


def add(file: Path, text: str) -> None:
    """Add the text at the end of the file, and its imports at the top; make the file if need be."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return
    imports = IMPORTS.match(text)
    assert imports
    old = file.read_text()
    first = re.search(r"^(?:from|import) ", old, re.MULTILINE)
    assert first
    file.write_text(
        old[: first.start()] + imports[0] + old[first.start() :] + text[imports.end() :]
    )
