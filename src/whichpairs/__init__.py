"""Which pairs of completions should I pay to have compared?

The stages are functions of a run folder: `import_pool` or `generate_pool`, `compute_features`,
`plan`, `select`, `label_simulated`, `label_from_drawer` or `label_from_file`, `fit_labels` (or
`loop`, which does these three in rounds), `export_labels`, `train_policy`, `evaluate_run`,
`write_report`, `status`. The mathematics is in `whichpairs.design`, on arrays alone; `run_bench`
compares methods where the truth is known. Nothing is imported before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from whichpairs.errors import MissingExtraError, UserError, WhichpairsError

if TYPE_CHECKING:
    from whichpairs.bench.robustness.settings import BenchSettings
    from whichpairs.bench.robustness.stage import bench as run_bench
    from whichpairs.design import FrankWolfe, PairSpace, PairWeights, Problem, solve
    from whichpairs.pool.columns import Columns
    from whichpairs.report.stage import report as write_report
    from whichpairs.train.settings import TeachSettings
    from whichpairs.train.teach import CannotTeachError, teach
    from whichpairs.workflow.evaluate.compare import compare_policies
    from whichpairs.workflow.evaluate.settings import EvaluateSettings
    from whichpairs.workflow.evaluate.stage import evaluate_run
    from whichpairs.workflow.features.settings import FeatureSettings
    from whichpairs.workflow.features.stage import compute_features
    from whichpairs.workflow.fit import fit_labels
    from whichpairs.workflow.generate import generate_pool
    from whichpairs.workflow.import_pool import import_pool
    from whichpairs.workflow.label.settings import JudgeSettings
    from whichpairs.workflow.label.stage import (
        label_from_drawer,
        label_from_file,
        label_judged,
        label_simulated,
    )
    from whichpairs.workflow.loop.settings import LoopSettings
    from whichpairs.workflow.loop.stage import loop
    from whichpairs.workflow.plan import plan
    from whichpairs.workflow.score import score_pool
    from whichpairs.workflow.select.limit_settings import LimitSettings
    from whichpairs.workflow.select.settings import SelectSettings
    from whichpairs.workflow.select.stage import select
    from whichpairs.workflow.settings.generate import GenerateSettings
    from whichpairs.workflow.settings.plan import PlanSettings
    from whichpairs.workflow.status import status
    from whichpairs.workflow.train.export import export_labels
    from whichpairs.workflow.train.stage import train_policy

_HOME = {
    "whichpairs.design": (
        "FrankWolfe",
        "PairSpace",
        "PairWeights",
        "Problem",
        "gap_criterion",
        "solve",
    ),
    "whichpairs.pool.columns": ("Columns",),
    "whichpairs.bench.robustness.settings": ("BenchSettings",),
    "whichpairs.workflow.import_pool": ("import_pool",),
    "whichpairs.workflow.evaluate.compare": ("compare_policies",),
    "whichpairs.workflow.evaluate.settings": ("EvaluateSettings",),
    "whichpairs.workflow.evaluate.stage": ("evaluate_run",),
    "whichpairs.workflow.select.limit_settings": ("LimitSettings",),
    "whichpairs.workflow.select.settings": ("SelectSettings",),
    "whichpairs.workflow.train.export": ("export_labels",),
    "whichpairs.workflow.features.settings": ("FeatureSettings",),
    "whichpairs.workflow.features.stage": ("compute_features",),
    "whichpairs.workflow.fit": ("fit_labels",),
    "whichpairs.workflow.generate": ("generate_pool",),
    "whichpairs.workflow.label.settings": ("JudgeSettings",),
    "whichpairs.workflow.label.stage": (
        "label_from_drawer",
        "label_from_file",
        "label_judged",
        "label_simulated",
    ),
    "whichpairs.workflow.loop.settings": ("LoopSettings",),
    "whichpairs.workflow.loop.stage": ("loop",),
    "whichpairs.workflow.plan": ("plan",),
    "whichpairs.workflow.score": ("score_pool",),
    "whichpairs.workflow.select.stage": ("select",),
    "whichpairs.workflow.settings.generate": ("GenerateSettings",),
    "whichpairs.workflow.settings.plan": ("PlanSettings",),
    "whichpairs.workflow.status": ("status",),
    "whichpairs.workflow.train.stage": ("train_policy",),
    "whichpairs.train.teach": ("CannotTeachError", "teach"),
    "whichpairs.train.settings": ("TeachSettings",),
}
_WHERE = {name: (module, name) for module, names in _HOME.items() for name in names}
_WHERE["run_bench"] = ("whichpairs.bench.robustness.stage", "bench")
_WHERE["write_report"] = ("whichpairs.report.stage", "report")

__all__ = [
    "BenchSettings",
    "CannotTeachError",
    "Columns",
    "EvaluateSettings",
    "FeatureSettings",
    "FrankWolfe",
    "GenerateSettings",
    "JudgeSettings",
    "LimitSettings",
    "LoopSettings",
    "MissingExtraError",
    "PairSpace",
    "PairWeights",
    "PlanSettings",
    "Problem",
    "SelectSettings",
    "TeachSettings",
    "UserError",
    "WhichpairsError",
    "compare_policies",
    "compute_features",
    "evaluate_run",
    "export_labels",
    "fit_labels",
    "gap_criterion",
    "generate_pool",
    "import_pool",
    "label_from_drawer",
    "label_from_file",
    "label_judged",
    "label_simulated",
    "loop",
    "plan",
    "run_bench",
    "score_pool",
    "select",
    "solve",
    "status",
    "teach",
    "train_policy",
    "write_report",
]


def __dir__() -> list[str]:
    """What there is."""
    return __all__


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(import_module(module), attribute)
