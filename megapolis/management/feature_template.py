"""Widgets as the template of a feature: its files, under other names.

There is no second copy that could fall behind: `widgets/` and `tests/widgets/` are the template.
`docs/decisions/0060-startfeature.md` says why.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from megapolis.environment import BASE_DIR

FOLDERS = (Path("widgets"), Path("tests") / "widgets")
LITERAL = re.compile(r'("""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#.*)')
"""A string or a comment. The other parts of a file are code."""
WORD = re.compile(r"(?<![\w`/.{-])([Aa] )?([Ww])idget(s?)(?![\w`/-])")
"""A widget in prose, with its article: not part of a path or of a name."""


class NameClash(ValueError):
    """A name that the template's own code uses for something else."""


@dataclass(frozen=True)
class Names:
    """The names of a feature, such as `order_line` and `order_lines`."""

    singular: str
    plural: str

    @property
    def path(self) -> str:
        """Return the path of its endpoints: `/order-lines`."""
        return f"/{self.plural.replace('_', '-')}"

    def identifiers(self, text: str) -> str:
        """Return the text with each widget in it renamed, as part of a name, too."""
        model = self.singular.replace("_", "")  # as Django names tables and pages of the admin
        for gap in "_./":
            text = text.replace(f"widgets{gap}widget", f"{self.plural}{gap}{model}")
        for old, new in (("widgets", self.plural), ("widget", self.singular)):
            text = text.replace(old.title(), new.title().replace("_", "")).replace(old, new)
        return text

    def prose(self, text: str) -> str:
        """Return a string or comment with each widget in it renamed. One with blanks is prose."""
        if " " in text:
            text = WORD.sub(self._words, text)
        if "/widgets/widget" not in text:
            text = text.replace("/widgets", self.path)
        return self.identifiers(text)

    def _words(self, found: re.Match[str]) -> str:
        article, letter, several = found.groups(default="")
        name = (self.plural if several else self.singular).replace("_", " ")
        if article and name[0] in "aeio":
            article = f"{article[0]}n "
        return article + (name.capitalize() if letter == "W" else name)


def render(names: Names) -> dict[Path, str]:
    """Return the text of each file of the feature, by its path in the checkout.

    Lines may be longer than the formatter leaves them. Raises NameClash.
    """
    files = [file for folder in FOLDERS for file in sorted((BASE_DIR / folder).rglob("*.py"))]
    return {
        Path(names.identifiers(str(file.relative_to(BASE_DIR)))): rename(
            file.read_text(encoding="utf-8"), names
        )
        for file in files
    }


def rename(source: str, names: Names) -> str:
    """Return Python source with each widget in code and prose renamed. Raises NameClash."""
    parts = LITERAL.split(source)
    used = set(re.findall(r"\w+", " ".join(parts[::2])))
    renamed = {names.identifiers(name) for name in used if "widget" in name.lower()}
    if clashes := renamed & {name for name in used if "widget" not in name.lower()}:
        raise NameClash(", ".join(sorted(clashes)))
    parts[::2] = map(names.identifiers, parts[::2])
    parts[1::2] = map(names.prose, parts[1::2])
    return "".join(parts)
