"""Stage status: where the run stands, and the next command to type."""

import json
import shlex
from pathlib import Path
from typing import Any

from whichpairs.run.folder import open_run
from whichpairs.run.once import Outcome
from whichpairs.wording import counted, percent
from whichpairs.workflow.drawer import drawer_of, label_command
from whichpairs.workflow.loop_record import command, under_way
from whichpairs.workflow.select.batch_result import labels_of, predicted
from whichpairs.workflow.workspace import Workspace

_JUDGED = ("evaluations", "judgements", "capabilities")


def status(run: str | Path, *, beta: float | None = None) -> Outcome:
    """What is there, and what comes next. Reads only; another process may be at work.

    The text is written from the result alone, so that it says nothing that the result lacks.
    """
    space = Workspace(open_run(Path(run), beta))
    result = _facts(space)
    result |= {"next": _next(space, result), "then": None}
    loop = under_way(space, result)
    if loop is not None and result["waiting"] and not loop.answers:
        result["next"] = result["next"].replace(" (or --simulate COLUMN)", "")
        result["then"] = command(loop.options, space.run.root)
    elif loop is not None:
        result["next"] = command(loop.options, space.run.root)
    lines = [f"{name:12} {text}" for name, text in _lines(result)]
    then = [f"Then: {result['then']}"] if result["then"] else []
    return Outcome("\n".join([*lines, "", f"Next: {result['next']}", *then]), result)


def _facts(space: Workspace) -> dict[str, Any]:
    run = space.run
    pool = run.record("pool")
    facts: dict[str, Any] = {"run": str(run.root), "beta": run.beta, "seed": run.seed}
    facts["pool"] = pool.result if pool else None
    facts["unfinished_pool"] = (run.root / "pool.partial").is_dir() and pool is None
    numeric = _numeric(space, pool.result) if pool else []
    meant = _meant_as_scores(space) if pool else set()
    facts["score_columns"] = [name for name in numeric if name in meant]
    facts["numeric_columns"] = [name for name in numeric if name not in meant]
    facts["scores"] = [*run.finished("scores"), *facts["score_columns"]]
    facts |= {kind: run.finished(kind) for kind in ("features", "batches", "fits", "policies")}
    facts |= {kind: run.finished(kind) for kind in _JUDGED}
    facts["taught"] = _taught(space, facts["policies"])
    facts["projection_loss"] = _projection_losses(space, facts["features"])
    begun = sorted(run.root.glob("features.partial/*/settings.json"))
    facts["unfinished_features"] = [path.parent.name for path in begun]
    facts["batch_results"] = {name: _batch(space, name) for name in facts["batches"]}
    facts["unfinished_batch"] = (run.root / "batches.partial").is_dir()
    facts["labels"] = len(space.labels) if pool else 0
    facts["waiting"] = len(space.pending()) if pool else 0
    drawer = drawer_of(space)
    facts["drawer"] = None if drawer is None else drawer.recorded()
    fits = [run.record("fits", name) for name in facts["fits"]]
    facts["fit_is_current"] = bool(fits) and any(
        fit is not None and fit.inputs["labels"] == space.labels_fingerprint for fit in fits
    )
    return facts


def _numeric(space: Workspace, pool: dict[str, Any]) -> list[str]:
    """Numeric columns of the pool but for a generation's own: by its manifest, or by itself where
    that is older."""
    for key in ("numeric_columns", "score_columns"):  # the second is the older name
        if key in pool:
            return list(pool[key])
    return space.pool.scores


def _meant_as_scores(space: Workspace) -> set[str]:
    """Names that somebody called a score: in the file, at import, or by using it as one since."""
    record = space.run.record("pool")
    named = (
        {"score"}
        if record is None
        else {"score", *record.settings.get("columns", {}).get("scores", ())}
    )
    named |= {
        str(source["column"]) for source in space.store.sources().values() if "column" in source
    }
    judged = (space.run.record("evaluations", name) for name in space.run.finished("evaluations"))
    return named | {
        str(one.settings["score"]) for one in judged if one and one.settings.get("score")
    }


def _projection_losses(space: Workspace, features: list[str]) -> dict[str, float]:
    """The share of a design's gain that each projected feature set loses, where it was measured."""
    records = {name: space.run.record("features", name) for name in features}
    found = {name: r.result.get("fidelity") for name, r in records.items() if r is not None}
    return {name: fidelity["loss"] for name, fidelity in found.items() if fidelity is not None}


def _taught(space: Workspace, policies: list[str]) -> dict[str, dict[str, Any]]:
    """Of every taught policy, on how many pairs without a label, and by which fit."""
    records = {name: space.run.record("policies", name) for name in policies}
    found = {name: r.result.get("taught") for name, r in records.items() if r is not None}
    return {n: {"pairs": t["pairs"], "fit": t["fit"]} for n, t in found.items() if t is not None}


def _batch(space: Workspace, name: str) -> dict[str, Any]:
    """What is told of a batch."""
    record = space.run.record("batches", name)
    assert record is not None
    r = record.result
    return {
        "picked": r["picked"],
        "labels": labels_of(r),
        "criterion": r["criterion"],
        "predicted_gap": predicted(r)["predicted_gap"],
        "certificate": r.get("certificate"),
    }


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("run", f"{facts['run']} (beta {facts['beta']:g}, seed {facts['seed']})")]
    lines.append(("pool", _pool_line(facts["pool"], facts["unfinished_pool"])))
    columns = [f"{name} (a column of the pool)" for name in facts["score_columns"]]
    made = facts["scores"][: len(facts["scores"]) - len(columns)]
    lines.append(("scores", ", ".join([*made, *columns]) or "none"))
    if facts["numeric_columns"]:
        lines.append(("numbers", f"{', '.join(facts['numeric_columns'])} (other numeric columns)"))
    lines.append(("features", "; ".join(_feature_lines(facts)) or "none"))
    batches = [_batch_line(name, r) for name, r in facts["batch_results"].items()]
    if facts["unfinished_batch"]:
        batches.append("one begun, not finished: the same select goes on")
    lines.append(("batches", "; ".join(batches) or "none"))
    lines.append(
        ("labels", f"{facts['labels']}, {counted(facts['waiting'], 'pair waits', 'pairs wait')}")
    )
    if facts["drawer"] is not None:
        d = facts["drawer"]
        held = f"{d['answers']} answers about {d['pairs']} pairs, {d['left']} of them left"
        lines.append(("drawer", f"{held}: label --from-drawer takes out what was picked"))
    fits = ", ".join(facts["fits"]) or "none"
    stale = facts["fits"] and not facts["fit_is_current"]
    lines.append(("fits", f"{fits} (labels came since the last)" if stale else fits))
    for kind in ("policies", *_JUDGED):
        if facts[kind] or kind in ("policies", "evaluations"):
            names = [
                _named(name, facts["taught"] if kind == "policies" else {}) for name in facts[kind]
            ]
            lines.append((kind, ", ".join(names) or "none"))
    return lines


def _pool_line(pool: dict[str, Any] | None, unfinished: bool) -> str:
    if pool is None:
        return "begun, not finished: run the same generate again" if unfinished else "none"
    return (
        f"{counted(pool['prompts'], 'prompt')} ({pool['held_out_prompts']} held out), "
        f"{counted(pool['completions'], 'completion')}"
    )


def _feature_lines(facts: dict[str, Any]) -> list[str]:
    lost = {k: f" (projection loses {percent(v)})" for k, v in facts["projection_loss"].items()}
    lines = [name + lost.get(name, "") for name in facts["features"]]
    return lines + [f"{name} begun, not finished" for name in facts["unfinished_features"]]


def _named(name: str, taught: dict[str, dict[str, Any]]) -> str:
    """A policy; where it is one, as a taught one."""
    if name not in taught:
        return name
    return f"{name} (taught by fit {taught[name]['fit']} on {taught[name]['pairs']} pairs)"


def _batch_line(name: str, r: dict[str, Any]) -> str:
    text = f"{name}: {r['picked']} by {r['criterion']}"
    text += f" ({counted(r['labels'], 'label')})" if r["labels"] != r["picked"] else ""
    gap, certificate = r["predicted_gap"], r["certificate"]
    text += "" if gap is None else f", predicted gap {gap:.4g}"
    return text if certificate is None else f"{text}, within {percent(certificate)}"


def _next(space: Workspace, facts: dict[str, Any]) -> str:
    run = shlex.quote(facts["run"])
    if facts["unfinished_pool"]:
        return f"whichpairs generate --run {run} --model PATH --prompts FILE{_begun(space)}"
    if facts["pool"] is None:
        return f"whichpairs import FILE --run {run}"
    if not facts["features"]:
        return f"whichpairs features --run {run} --method text"
    if facts["waiting"]:
        following = label_command(space, "FILE")
        return f"{following} (or --simulate COLUMN)" if "FILE" in following else following
    if not facts["batches"] and not facts["labels"]:
        return f"whichpairs select --run {run} --budget N"
    if not facts["fit_is_current"]:
        return f"whichpairs fit --run {run}"
    if not facts["policies"]:
        return f"whichpairs train --run {run} --model PATH (or: whichpairs export OUT --run {run})"
    if not facts["evaluations"] and not facts["judgements"] and facts["pool"]["held_out_prompts"]:
        return f"whichpairs evaluate --run {run} --reward FOLDER"
    return f"whichpairs report --run {run}"


def _begun(space: Workspace) -> str:
    """The options that an unfinished generate must go on with."""
    try:
        text = (space.run.root / "pool.partial" / "settings.json").read_text(encoding="utf-8")
        begun = {**json.loads(text), "beta": space.run.beta}
    except (OSError, ValueError):
        return ""
    names = {name: "--" + name.replace("_", "-") for name in begun} | {"n": "-n"}
    if "sources" in begun:
        begun["sources"] = "FILE"
    if begun.pop("backend", None) == "server":
        begun["server"], names["server"] = "URL", "--server"
    options = [
        (names[k], str(one))
        for k, v in begun.items()
        if not k.endswith("_fingerprint")
        for one in (v if isinstance(v, list) else [v])
    ]
    return "".join(f" {name} {shlex.quote(value)}" for name, value in options)
