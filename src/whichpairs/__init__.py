"""Which pairs of completions should I pay to have compared?

The stages are functions of a run folder (`import_pool`, `features`, `select`, `label`, `fit`,
`export`, `train`, `evaluate`, `report`, `status`); the mathematics is in `whichpairs.design`, on
arrays alone. Nothing is imported before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from whichpairs.errors import MissingExtraError, UserError, WhichpairsError

if TYPE_CHECKING:
    from whichpairs.design import FrankWolfe, Gap, PairSpace, PairWeights, Problem, solve
    from whichpairs.pool.read import Columns
    from whichpairs.report.run_report import report
    from whichpairs.workflow.collect import import_pool
    from whichpairs.workflow.evaluate import EvaluateSettings, evaluate
    from whichpairs.workflow.export import export
    from whichpairs.workflow.features import FeatureSettings, compute_features
    from whichpairs.workflow.fit import fit_labels
    from whichpairs.workflow.generate import GenerateSettings, generate
    from whichpairs.workflow.label import label_from_file, label_simulated
    from whichpairs.workflow.score import score_pool
    from whichpairs.workflow.select import SelectSettings, select
    from whichpairs.workflow.status import status
    from whichpairs.workflow.train import train

_HOME = {
    "whichpairs.design": ("FrankWolfe", "Gap", "PairSpace", "PairWeights", "Problem", "solve"),
    "whichpairs.pool.read": ("Columns",),
    "whichpairs.report.run_report": ("report",),
    "whichpairs.workflow.collect": ("import_pool",),
    "whichpairs.workflow.evaluate": ("EvaluateSettings", "evaluate"),
    "whichpairs.workflow.export": ("export",),
    "whichpairs.workflow.features": ("FeatureSettings", "compute_features"),
    "whichpairs.workflow.fit": ("fit_labels",),
    "whichpairs.workflow.generate": ("GenerateSettings", "generate"),
    "whichpairs.workflow.label": ("label_from_file", "label_simulated"),
    "whichpairs.workflow.score": ("score_pool",),
    "whichpairs.workflow.select": ("SelectSettings", "select"),
    "whichpairs.workflow.status": ("status",),
    "whichpairs.workflow.train": ("train",),
}
_WHERE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Columns",
    "EvaluateSettings",
    "FeatureSettings",
    "FrankWolfe",
    "Gap",
    "GenerateSettings",
    "MissingExtraError",
    "PairSpace",
    "PairWeights",
    "Problem",
    "SelectSettings",
    "UserError",
    "WhichpairsError",
    "compute_features",
    "evaluate",
    "export",
    "fit_labels",
    "generate",
    "import_pool",
    "label_from_file",
    "label_simulated",
    "report",
    "score_pool",
    "select",
    "solve",
    "status",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
