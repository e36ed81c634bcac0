from pathlib import Path

import pytest
import uvicorn

from megapolis import environment
from megapolis.server import reload


def supervisor() -> reload.Reload:
    config = uvicorn.Config("megapolis.asgi:application", log_config=None)
    return reload.Reload(config, lambda _: None, [])


def test_watches_the_apps_of_this_repository_alone() -> None:
    watched = {file.relative_to(environment.BASE_DIR) for file in supervisor().iter_py_files()}

    assert {Path("megapolis/admin/site.py"), Path("widgets/api.py")} < watched
    assert {file.parts[0] for file in watched}.isdisjoint({".venv", "tests", "examples"})


def test_watches_an_app_that_is_added_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "BASE_DIR", tmp_path)
    files = supervisor().iter_py_files
    assert list(files()) == []

    app = tmp_path / "gadgets"
    app.mkdir()
    (app / "apps.py").touch()

    assert list(files()) == [app / "apps.py"]
