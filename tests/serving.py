"""What tests of stores and pages need that is not everywhere: a PostgreSQL server, a real browser."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a database that is empty at first."""
    from whichpairs.bench.labels import postgres as server

    if missing := server.missing():
        pytest.skip(f"no PostgreSQL server here: {', '.join(missing)} not found")
    with server.server() as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A real browser, driven by playwright."""
    from whichpairs.bench.labels.site import CHROMIUM, browser

    if CHROMIUM is None or find_spec("playwright") is None:
        pytest.skip("no Chromium here, or no playwright")
    with browser() as one:
        yield one
