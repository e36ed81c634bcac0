import runpy
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from megapolis import environment
from megapolis.environment import limits, reader


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`load(PRODUCTION, LOG_LEVEL="DEBUG")` reads these variables and no others."""

    def run(variables: Mapping[str, str], **changes: str) -> SimpleNamespace:
        monkeypatch.setattr(reader, "read", reader.Reader({**variables, **changes}))
        found = runpy.run_path(str(limits.__file__))
        return SimpleNamespace(**{**found, **runpy.run_path(str(environment.__file__))})

    return run


@pytest.fixture
def problems(load: Any) -> Callable[..., list[str]]:
    """`problems(PRODUCTION, …)` returns the lines of the error, without its heading."""

    def run(variables: Mapping[str, str], **changes: str) -> list[str]:
        with pytest.raises(ImproperlyConfigured) as error:
            load(variables, **changes)
        return [line.strip() for line in str(error.value).splitlines()[1:]]

    return run
