"""A setting is said once: its option, its range and the command that sets it follow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from whichpairs import (
    BenchSettings,
    Columns,
    EvaluateSettings,
    FeatureSettings,
    GenerateSettings,
    LimitSettings,
    LoopSettings,
    PlanSettings,
    SelectSettings,
    UserError,
)
from whichpairs.cli.main import STAGES, stage_command
from whichpairs.cli.options.from_settings import Options
from whichpairs.setting import Setting, check_ranges, flat, options

LIMITS = LimitSettings(
    2, 3, None, "topic", ("a=0.1:0.4", "b=:0.5"), must="m.txt", reading=200.0, overhead=0.5
)
CASES: dict[str, tuple[str, Any, list[str]]] = {
    "select": ("select", SelectSettings(30, "gap", controls=0, limits=LIMITS), []),
    "an exact tolerance": ("select", SelectSettings(5, tolerance=0.1 + 0.2, prior_spread=1), []),
    "features": ("features", FeatureSettings("join", sets="a,b", standardise=True), []),
    "without": ("features", FeatureSettings("text", dim=8, fidelity=False, seed=3), []),
    "generate": ("generate", GenerateSettings("m", "p.txt", 4, stop=("\n", "."), timeout=9.5), []),
    "plan": ("plan", PlanSettings(0.25, budget=9, criterion="paper"), []),
    "loop": ("loop", LoopSettings(500, labeller="cat 'one more'", stop_gain=0.5), []),
    "evaluate": ("evaluate", EvaluateSettings(judge="http://x/v1", judge_model="j"), []),
    "import": ("import", Columns(pair=("good", "bad"), scores=("s", "t")), ["FILE"]),
    "bench": ("bench", BenchSettings(Path("o"), temperatures=(0.5, 2.0), methods=("gap",)), ["o"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_command_of_settings_sets_them(case: str) -> None:
    """Settings, their options as a report shows them, and the settings that typer reads from these."""
    stage, settings, words = CASES[case]
    kind = type(settings)
    words = words + options(kind, _values(settings))
    if stage != "bench":
        words = ["--run", "RUN", *words]
    read = stage_command(stage).make_context(stage, words).params
    assert Options(kind).make(read) == settings


def _values(settings: Any) -> dict[str, Any]:
    limits = vars(getattr(settings, "limits", settings))
    arguments = {one.name for one in flat(type(settings)) if one.setting.argument}
    return {k: v for k, v in (vars(settings) | limits).items() if k not in arguments}


@dataclass(frozen=True)
class Ranged:
    whole: Annotated[int, Setting(low=1)] = 1
    maybe: Annotated[int | None, Setting(low=0, words="the other")] = None
    share: Annotated[float, Setting(low=0, below=1)] = 0.0
    part: Annotated[float, Setting(low=0, high=0.9)] = 0.0
    rate: Annotated[float | None, Setting(above=0, unit="words a minute")] = None
    free: int = 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"whole": 0}, "whole must be a whole number of at least 1; got 0"),
        ({"whole": 1.5}, "whole must be a whole number of at least 1; got 1.5"),
        ({"whole": True}, "whole must be a whole number of at least 1; got True"),
        ({"whole": None}, "whole must be a whole number of at least 1; got None"),
        ({"maybe": -1}, "the other must be a whole number of at least 0; got -1"),
        ({"share": 1.0}, "share must be at least 0 and below 1; got 1"),
        ({"share": float("nan")}, "share must be at least 0 and below 1; got nan"),
        ({"part": 0.91}, "part must be between 0 and 0.9; got 0.91"),
        ({"rate": 0.0}, "rate must be a finite number of words a minute above 0; got 0"),
        ({"rate": float("inf")}, "rate must be a finite number of words a minute above 0; got inf"),
    ],
)
def test_a_value_out_of_range_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        check_ranges(Ranged(**given))
    assert str(refused.value) == message


def test_the_ends_of_a_range_are_in_it() -> None:
    check_ranges(Ranged(1, 0, 0.0, 0.9, 1e-9, -5))
    check_ranges(Ranged(10**9, None, 0.999, 0, None))


def test_no_option_is_said_twice() -> None:
    """Every command can be put together, and no flag is two parameters'."""
    for name in STAGES:
        flags = [flag for one in stage_command(name).params for flag in one.opts]
        assert len(set(flags)) == len(flags), name
        assert "--json" in flags
