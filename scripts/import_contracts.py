"""Check the import contracts of pyproject.toml, where `widgets` stands for every feature like it.

What holds for widgets holds for each feature; in a list of layers they are independent siblings.
"""

import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path.cwd()))

from importlinter.cli import lint_imports

from megapolis.features import FEATURES

LIKE_WIDGETS = [feature for feature in FEATURES if feature != "accounts"]


def for_every_feature(name: str, value: Any) -> str:
    """Return the option as an INI file has it: one entry a line."""
    if not isinstance(value, list):
        return str(value)
    widgets = [" | ".join(LIKE_WIDGETS)] if name == "layers" else LIKE_WIDGETS
    return "\n".join(
        entry for item in value for entry in (widgets if item == "widgets" else [item])
    )


def main() -> int:
    options = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["importlinter"]
    config = ConfigParser(interpolation=None)
    contracts = enumerate(options.pop("contracts"))
    sections = {f"importlinter:contract:{number}": contract for number, contract in contracts}
    for section, content in {"importlinter": options, **sections}.items():
        config[section] = {name: for_every_feature(name, value) for name, value in content.items()}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "contracts.ini"
        with file.open("w") as output:
            config.write(output)
        return lint_imports(config_filename=str(file), no_logo=True)


if __name__ == "__main__":
    sys.exit(main())
