"""The commands that made a run, from what its manifests say: to type it again, or to quote it.

Only options that a command has and that were not left at their defaults are spelt out.
"""

import shlex
from dataclasses import fields
from typing import Any

from whichpairs.pool.columns import Columns
from whichpairs.report.data.applied import applied
from whichpairs.report.data.facts import KINDS
from whichpairs.run.folder import Record
from whichpairs.setting import Field, flat, options, shown
from whichpairs.workflow.drawer import KIND as DRAWER
from whichpairs.workflow.workspace import IMPORTED, Workspace

_NOT_OPTIONS = {"beta", "kind", "model_fingerprint", "prompts_fingerprint"}
_BEGIN = ("import", "generate")
"""Stages that set the run's seed; the others take it from there."""


def commands(space: Workspace) -> list[str]:
    """One command a finished stage, in the order they were run."""
    run = space.run
    found: list[tuple[str, str]] = []
    pool = run.record("pool")
    if pool is not None:
        found.append((pool.created, _pool_command(space, pool)))
    for name in run.finished(DRAWER):
        record = run.record(DRAWER, name)
        assert record is not None
        found.append((record.created, _pool_command(space, record)))
    for kind in KINDS:
        for name in run.finished(kind):
            record = run.record(kind, name)
            if record is None:
                continue
            found.append((record.created, _stage_command(space, kind, name, record)))
            if kind == "batches":
                found += [(record.created, c) for c in _label_commands(space, name)]
    return [text for _, text in sorted(found, key=lambda one: one[0])]


def _line(space: Workspace, stage: str, *words: str) -> str:
    return shlex.join(["whichpairs", stage, "--run", str(space.run.root), *words])


def _options(space: Workspace, stage: str, settings: dict[str, Any]) -> list[str]:
    """The options of every setting that is not the command's default."""
    kinds = _kinds(stage)
    said = {name: one for kind in kinds for one in flat(kind) for name in _names(one)}
    unsaid = _NOT_OPTIONS | {one.name for kind in kinds for one in fields(kind)} - set(said)
    seed = 0 if stage in _BEGIN else space.run.seed
    words = []
    for name, value in settings.items():
        if name == "seed":
            words += [] if value in (None, seed) else ["--seed", str(value)]
        elif name in said:
            words += said[name].option(value)
        elif name not in unsaid and value is not None and (name, value) != ("holdout", 0.0):
            words += [f"--{name.replace('_', '-')}", shown(value)]
    return words


def _names(one: Field) -> set[str]:
    """What manifests call a setting: its name, or that of its option."""
    return {one.name, one.flag[2:].replace("-", "_")}


def _kinds(stage: str) -> list[Any]:
    """The settings classes of a command, as far as it has any."""
    from whichpairs.train.settings import DPOSettings, TeachSettings
    from whichpairs.workflow.evaluate.settings import EvaluateSettings
    from whichpairs.workflow.features.settings import FeatureSettings
    from whichpairs.workflow.select.settings import SelectSettings
    from whichpairs.workflow.settings.generate import GenerateSettings

    kinds: dict[str, list[Any]] = {
        "generate": [GenerateSettings],
        "features": [FeatureSettings],
        "select": [SelectSettings],
        "train": [DPOSettings, TeachSettings],
        "evaluate": [EvaluateSettings],
    }
    return kinds.get(stage, [])


def _pool_command(space: Workspace, record: Record) -> str:
    beta = ["--beta", shown(space.run.beta)]
    settings = applied("pool", record)
    if record.stage == "generate":
        words = ["--model", "MODEL", "--prompts", "FILE"]
        if "sources" in settings:
            words[:2] = ["--sources", "FILE"]
            del settings["sources"]
        if settings.pop("backend", None) == "server":
            words += ["--server", "URL"]
        return _line(space, "generate", *words, *_options(space, "generate", settings), *beta)
    columns = settings.pop("columns", {})
    source = str(settings.pop("source", "FILE"))
    words = options(Columns, columns)
    return _line(space, "import", source, *words, *_options(space, "import", settings), *beta)


def _stage_command(space: Workspace, kind: str, name: str, record: Record) -> str:
    settings, stage = applied(kind, record), record.stage
    words: list[str] = []
    if kind == "scores" and name != "reward":
        words = ["--name", name]
    if kind == "features":
        words = _feature_words(name, record)
    if kind == "fits":
        settings.pop("prior_spread", None)
    if kind == "judgements":
        words = ["--judge", "URL"]
    if kind == "policies":
        words = ["--model", str(record.result.get("reference", "MODEL"))]
    return _line(space, stage, *words, *_options(space, stage, settings))


def _feature_words(name: str, record: Record) -> list[str]:
    method = record.settings.get("method")
    words = ["--name", name] if name != method else []
    if "model" in record.result:
        words += ["--model", str(record.result["model"])]
    return words + (["--file", "FILE"] if method == "file" else [])


def _label_commands(space: Workspace, batch: str) -> list[str]:
    """How the batch was labelled: one command a source."""
    sources = space.store.sources()
    who = {x.annotator for x in space.labels if x.batch == batch and x.batch != IMPORTED}
    found = []
    for annotator in sorted(who):
        made = sources.get(annotator)
        if made is None:
            words = ["--from", "FILE"] + (["--annotator", annotator] if annotator != "file" else [])
        elif made["kind"] == DRAWER:
            words = ["--from-drawer"]
        elif made["kind"] == "judge":
            words = ["--judge", "URL", "--judge-model", made["model"], "--rubric", made["rubric"]]
        else:
            words = ["--simulate", made["column"], "--temperature", shown(made["temperature"])]
            words += ["--seed", str(made["seed"])] if made["seed"] != space.run.seed else []
        found.append(_line(space, "label", *words))
    return list(dict.fromkeys(found))
