"""Widgets as the template of a feature: its files, under other names.

There is no second copy that could fall behind: `widgets/` and `tests/widgets/` are the template.
`docs/decisions/0060-startfeature.md` says why.
"""

import io
import re
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from megapolis.environment import BASE_DIR

FOLDERS = (Path("widgets"), Path("tests") / "widgets")
LINE_LENGTH = 100
WIDGET = re.compile(r"[Ww]idgets?")
WIDGET_IN_PROSE = re.compile(r"(?<![\w`/.-])[Ww]idgets?(?![\w`/-])")
WIDGETS_IN_PATH = re.compile(r"(?<!/admin)/widgets")
MODEL = re.compile(r"\bwidgets([_./])widget(?![a-z])")
"""In the names of tables and of pages of the admin, Django writes a model's name as one word."""
VOWEL = re.compile(r"[aeio]|u(?!ni|s)")
PROSE = {tokenize.STRING, tokenize.FSTRING_MIDDLE, tokenize.COMMENT}


class NameClash(ValueError):
    """A name that the template's own code uses for something else."""


@dataclass(frozen=True)
class Names:
    """What a feature is called: `order_line` and `order_lines`."""

    singular: str
    plural: str

    @property
    def path(self) -> str:
        """Return the path of its endpoints: `/order-lines`."""
        return f"/{self.plural.replace('_', '-')}"

    def identifiers(self, text: str) -> str:
        """Return the text with each widget in it renamed, whatever it is part of."""
        model = self.singular.replace("_", "")
        text = MODEL.sub(rf"{self.plural}\1{model}", text)
        return WIDGET.sub(lambda found: self.spelled(found[0]), text)

    def spelled(self, widget: str, *, gap: str | None = None) -> str:
        """Return the name that is written as `widget` is: capital or not, one or several.

        With a `gap` between its words it is prose, otherwise an identifier.
        """
        name = self.plural if widget.endswith("s") else self.singular
        if gap is None:
            return name.title().replace("_", "") if widget[0] == "W" else name
        return (name.capitalize() if widget[0] == "W" else name).replace("_", gap)


def render(names: Names) -> dict[Path, str]:
    """Return the text of each file of the feature, by its path in the checkout.

    Raises NameClash.
    """
    texts: dict[Path, str] = {}
    for folder in FOLDERS:
        for file in sorted((BASE_DIR / folder).rglob("*.py")):
            path = names.identifiers(str(file.relative_to(BASE_DIR)))
            texts[Path(path)] = rename(file.read_text(encoding="utf-8"), names)
    return texts


def rename(source: str, names: Names) -> str:
    """Return Python source that says of the feature what this one says of widgets."""
    _refuse_clash(source, names)
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    parts, done = [], 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        start, end = (starts[row - 1] + column for row, column in (token.start, token.end))
        if token.type in PROSE and start >= done:
            parts += [names.identifiers(source[done:start]), _prose(source[start:end], names)]
            done = end
    return wrap("".join(parts) + names.identifiers(source[done:]))


def wrap(source: str) -> str:
    """Break the comments and docstrings that longer names have made too long for a line."""
    lines = source.splitlines()
    for row, quotes in _prose_rows(source):
        if len(lines[row]) > LINE_LENGTH:
            lines[row] = _fill(lines[row], quotes=quotes)
    return "\n".join([*lines, ""])


def _fill(line: str, *, quotes: str) -> str:
    indent = re.match(r"\s*(?:# )?", line)
    assert indent  # noqa: S101 - it can match nothing
    closing = quotes if quotes and line.endswith(quotes) else ""
    filler = textwrap.TextWrapper(
        LINE_LENGTH - len(closing),
        initial_indent=indent[0],
        subsequent_indent=indent[0],
        break_long_words=False,
        break_on_hyphens=False,
    )
    text = filler.fill(line.removesuffix(closing).lstrip(indent[0]))
    return f"{text}\n{indent[0]}{closing}" if closing else text


def _prose_rows(source: str) -> Iterator[tuple[int, str]]:
    """Yield the rows that hold nothing but prose, with the quotes around a docstring."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        rows = range(token.start[0] - 1, token.end[0])
        if token.type == tokenize.STRING and token.string.startswith('"""'):
            yield from ((row, '"""') for row in rows)
        elif token.type == tokenize.COMMENT and token.line.lstrip().startswith("#"):
            yield from ((row, "") for row in rows)


def _prose(text: str, names: Names) -> str:
    """Rename in a string or comment. One that has blanks is meant to be read."""
    text = WIDGETS_IN_PATH.sub(names.path, text)
    if " " in text:
        text = WIDGET_IN_PROSE.sub(lambda found: names.spelled(found[0], gap=" "), text)
        if VOWEL.match(names.singular):
            noun = names.singular.replace("_", " ")
            text = re.sub(rf"\b([Aa]) (?={noun}\b)", r"\1n ", text)
    return names.identifiers(text)


def _refuse_clash(source: str, names: Names) -> None:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    own = {token.string for token in tokens if token.type == tokenize.NAME}
    renamed = {names.identifiers(name) for name in own if WIDGET.search(name)}
    clashes = renamed & {name for name in own if not WIDGET.search(name)}
    if clashes:
        raise NameClash(", ".join(sorted(clashes)))
