"""Shared by all tests: shapes are checked as they run, one thread a worker, and the quick selection."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores; tests of threads set their own
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings
from jaxtyping import install_import_hook

from serving import chromium, postgres  # noqa: F401  (fixtures)

# Not estimate/, adaptive and predicted_gap, whose arguments share names of axes that differ.
CHECKED = (
    *("exact", "problem", "sweep", "batches", "solver", "estimate.policy_gap"),
    *("forecast.random_reach", "forecast.curve"),
    *(f"strategies.{name}" for name in ("bounded", "strongest", "paper", "shares")),
)
install_import_hook([f"whichpairs.design.{name}" for name in CHECKED], "shapes.checked")


@pytest.fixture(scope="module")
def few_draws() -> Iterator[None]:
    """A predicted gap is the mean over 64 draws, most of the time that a tiny selection takes. Eight do
    where a test is not of its noise; `test_forecast` is of what is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whichpairs.design.forecast.predicted_gap.DRAWS", 8)
        yield


LEFT: Counter[str] = Counter()
"""What `--quick` leaves out, by reason."""


def pytest_addoption(parser: pytest.Parser) -> None:
    words = "leave out tests marked slow, and all but the first case of a parametrised test"
    parser.addoption("--quick", action="store_true", help=words)


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile("quick", max_examples=10)
    if config.getoption("--quick"):
        settings.load_profile("quick")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--quick"):
        return
    kept: list[pytest.Item] = []
    seen: set[str] = set()
    for item in items:
        name = re.sub(r"\[.*", "", item.nodeid, flags=re.DOTALL)
        if item.get_closest_marker("slow"):
            LEFT["tests marked slow"] += 1
        elif name in seen:
            LEFT["further cases of parametrised tests"] += 1
        else:
            seen.add(name)
            kept.append(item)
    chosen = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left"] = dict(LEFT)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Every worker collects, and leaves out, the same."""
    LEFT.clear()
    LEFT.update(getattr(node, "workeroutput", {}).get("left", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for reason, count in LEFT.items():
        terminalreporter.write_line(f"left out by --quick: {count} {reason}")
