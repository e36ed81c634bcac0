"""What must hold for the repository as a whole, and nobody would notice before it hurts."""

import pytest

from megapolis.environment import BASE_DIR
from megapolis.features import FEATURES

APPS = sorted(path.parent.name for path in BASE_DIR.glob("*/apps.py"))
FILES = ("__init__", "admin", "api", "apps", "models", "schemas", "services", "statements")


@pytest.mark.parametrize("app", [app for app in APPS if app != "megapolis"])
class TestFeature:
    def test_is_registered(self, app: str) -> None:
        assert app in FEATURES, (
            f"{app}/ is not registered: it has no line in megapolis/features.py, which should say "
            f'"{app}": "/{app.replace("_", "-")}",'
        )

    def test_has_its_tests_in_a_folder_of_its_name(self, app: str) -> None:
        assert list((BASE_DIR / "tests" / app).rglob("test_*.py"))

    def test_has_the_files_that_every_feature_has(self, app: str) -> None:
        missing = [
            name
            for name in FILES
            if not (BASE_DIR / app / f"{name}.py").exists() and not (BASE_DIR / app / name).is_dir()
        ]
        assert not missing


def test_every_registered_feature_exists() -> None:
    assert set(FEATURES) <= set(APPS)
