"""The settings of a stage that had an effect: the others say nothing of what was made."""

from typing import Any

from whichpairs.run.folder import Record

_DRAWN = ("samples", "max_new_tokens", "seed")
"""Of an evaluation, only where a model writes completions."""
_SOLVED = ("passes", "tolerance")
"""Of a selection, only where something is solved."""
_UNSOLVED = ("random", "signal")


def applied(kind: str, record: Record) -> dict[str, Any]:
    """The settings of a finished folder without those that did not apply.

    Args:
        kind: of the folder: ``pool``, ``evaluations`` …
    """
    settings = dict(record.settings)
    idle: tuple[str, ...] = ()
    if kind == "evaluations" and settings.get("score") is not None:
        idle = _DRAWN
    elif kind == "batches" and settings.get("criterion") in _UNSOLVED:
        idle = _SOLVED
    elif kind == "fits" and settings.get("strength") is not None:
        idle = ("seed",)  # of the folds by which a strength is chosen
    elif kind == "features" and settings.get("method") == "file":
        idle = ("seed",)
    elif kind == "judgements":
        from whichpairs.label.judge import RUBRIC

        idle = ("rubric",) if settings.get("rubric") == RUBRIC else ()
    elif kind == "pool" and "columns" in settings:
        unread = ("completion", "scores", "weight") if _pairs(record) else ("pair", "label")
        columns = settings["columns"].items()
        settings["columns"] = {k: v for k, v in columns if k not in unread}
    return {name: value for name, value in settings.items() if name not in idle}


def _pairs(record: Record) -> bool:
    return bool(record.result.get("shape") == "pair")
