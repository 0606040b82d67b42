"""Stage features: completions become vectors φ, centred within their prompt and stored."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.errors import UserError
from whichpairs.features.store import NAME, write_features
from whichpairs.run.once import Outcome, settle
from whichpairs.types import SILENT, Progress
from whichpairs.wording import counted, percent
from whichpairs.workflow.features.blocks import (
    AXES,
    WIDE_ROWS,
    Job,
    Partial,
    PoolExamples,
    Recipe,
    extract,
    fit_axes,
)
from whichpairs.workflow.features.settings import FeatureSettings
from whichpairs.workflow.workspace import Workspace, workspace


def compute_features(
    run: str | Path,
    settings: FeatureSettings,
    *,
    replace: bool = False,
    beta: float | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Compute a feature set and let it appear in the run.

    With a language model or an embedder a killed call goes on at the last finished block, and gives
    the same bytes as one that was not killed.

    Raises:
        UserError: it is there with other settings (unless `replace`), or begun with others;
            features that are not finite, constant, or of another number of rows; no model.
    """
    with workspace(run, beta) as space:
        source = _source(space, settings, progress)
        inputs = {"pool": space.pool.fingerprint, **source.inputs}
        name = settings.name or settings.method
        partial = Partial(space.run.root, name)

        def make(folder: Path) -> dict[str, Any]:
            blocks = source.make(partial, replace)
            dim = write_features(folder, blocks, space.pool.starts, settings.dtype)
            progress.finish()
            return {
                "features": name,
                "rows": len(space.pool.completions),
                "dim": dim,
                **source.notes,
                **source.after(folder),
                "fingerprint": _digest(folder / NAME),
            }

        with partial:
            record, before = settle(
                space.run,
                ("features", name),
                "features",
                source.settings,
                inputs,
                make,
                replace=replace,
                loses=_loses(space, name),
            )
        text = _message(name, record.result, before, record.settings)
        return Outcome(text, record.result, before, space.run.root / "features" / name)


def _loses(space: Workspace, name: str) -> str:
    users = [b for b in space.run.finished("batches") if _made_from(space, b, name)]
    if users:
        return f"the features that batches {', '.join(users)} were picked from"
    return "only the features themselves"


def _message(name: str, r: dict[str, Any], before: bool, chosen: dict[str, Any]) -> str:
    if before:
        return f"Features {name!r} are there already; nothing changed."
    text = (
        f"Features {name!r}: {counted(r['rows'], 'completion')} × {counted(r['dim'], 'dimension')}."
    )
    if r["dim"] < (chosen.get("dim") or 0):
        what = "completions" if "blocks" in r else "the texts"
        text += f" ({chosen['dim']} were asked for; {what} differ in no more directions.)"
    text += _cut_text(r, chosen.get("method"))
    if "blocks" in r:
        from whichpairs.workflow.features.join import said

        text += said(r["blocks"])
    found = r.get("fidelity")
    return (
        text
        if found is None
        else f"{text} {fidelity_text(found)[0].upper()}{fidelity_text(found)[1:]}."
    )


def _cut_text(r: dict[str, Any], method: str | None) -> str:
    """How many texts were read only in part."""
    if r.get("cut", 0) == 0:
        return ""
    if r["cut"] is None:
        return (
            f" Texts may be cut at {r['cut_at']} tokens; this model does not let them be counted."
        )
    if method == "embed":
        return f" {r['cut']} of {r['rows']} texts were cut to their first {r['cut_at']} tokens."
    return (
        f" {r['cut']} of {r['rows']} completions were cut to {r['cut_at']} tokens, prompt and "
        "completion together."
    )


def fidelity_text(found: dict[str, Any]) -> str:
    """The fidelity figure in words."""
    return (
        f"the projection loses {percent(found['loss'])} of what a design gains over random "
        f"(against {found['larger_dim']} dimensions, on {counted(found['prompts'], 'prompt')})"
    )


@dataclass(frozen=True)
class _Source:
    """Where blocks of rows come from, and what identifies them.

    Attributes:
        make: called with the set's `Partial` and whether to replace; after: called with the
            finished folder, gives more of the result.
    """

    settings: dict[str, Any]
    inputs: dict[str, Any]
    notes: dict[str, Any]
    make: Callable[[Partial, bool], Iterable[np.ndarray]]
    after: Callable[[Path], dict[str, Any]] = lambda folder: {}


def _source(space: Workspace, s: FeatureSettings, progress: Progress) -> _Source:
    seed = space.run.seed if s.seed is None else s.seed
    common = {"method": s.method, "seed": seed, "dtype": s.dtype}
    if s.method == "text":
        return _text(space, s.dim or 32, seed, common, progress)
    if s.method == "file":
        return _file(space, s, common)
    if s.method == "join":
        return _join(space, s, seed, common)
    return _model(space, s, seed, common, progress)


def _text(
    space: Workspace, dim: int, seed: int, common: dict[str, Any], progress: Progress
) -> _Source:
    from whichpairs.features.standardise import centre_and_clip
    from whichpairs.features.text import text_features

    def make(partial: Partial, replace: bool) -> Iterator[np.ndarray]:
        progress.start("text features", None)
        prompts = space.pool.prompts["prompt"].gather(space.pool.prompt_of).to_list()
        texts = space.pool.completions["completion"].to_list()
        raw = text_features(prompts, texts, dim=dim, seed=seed)
        yield centre_and_clip(raw.astype(np.float64), space.pool.starts, standardise=False)

    return _Source({**common, "dim": dim}, {}, {}, make)


def _file(space: Workspace, s: FeatureSettings, common: dict[str, Any]) -> _Source:
    from whichpairs.features.file import file_features

    assert s.file is not None
    path = Path(s.file)
    features = file_features(path, rows=len(space.pool.completions))

    def make(partial: Partial, replace: bool) -> Iterator[np.ndarray]:
        for at in range(0, len(features), 65536):
            yield np.asarray(features[at : at + 65536], dtype=np.float64)

    return _Source(common, {"file": _digest(path)}, {}, make)


def _join(space: Workspace, s: FeatureSettings, seed: int, common: dict[str, Any]) -> _Source:
    from whichpairs.workflow.features.join import Joined

    assert s.sets is not None
    joined = Joined(space, s.sets, s.standardise)
    axes = joined.axes(s.dim, seed)

    def make(partial: Partial, replace: bool) -> Iterator[np.ndarray]:
        return joined.stream(axes)

    def after(folder: Path) -> dict[str, Any]:
        if axes is None or not s.fidelity:
            return {}
        return {"fidelity": joined.fidelity(folder, axes, seed)}

    names = [block.name for block in joined.blocks]
    settings = {**common, "sets": names, "standardise": s.standardise, "dim": s.dim}
    inputs = {block.name: block.print for block in joined.blocks}
    notes = {"blocks": {block.name: block.described() for block in joined.blocks}}
    return _Source(settings, inputs, notes, make, after)


def _model(
    space: Workspace, s: FeatureSettings, seed: int, common: dict[str, Any], progress: Progress
) -> _Source:
    pool, devices = space.pool, s.device.split(",")
    pca = s.method == "gradient" and s.projection == "pca"
    dim = s.dim or (256 if s.method == "gradient" else None)
    own = _options(s, dim)
    recipe = _recipe(s, seed, dim, pca)
    loaded = recipe.load(devices[0])
    notes: dict[str, Any] = {"model": loaded.path}
    if s.method == "gradient":
        from whichpairs.features.gradient import coverage

        share, missing = coverage(loaded)
        notes |= {"parameters_covered": share, "parameters_left_out": missing}
    jobs: list[Job] = []

    def make(partial: Partial, replace: bool) -> Iterator[np.ndarray]:
        chosen = {**common, **own, "batch_size": s.batch_size}
        chosen |= {"pool": pool.fingerprint, "model": loaded.fingerprint}
        del chosen["dtype"]
        folder = partial.begin(chosen, replace)
        late = pca and len(pool.completions) <= WIDE_ROWS
        job = Job(recipe, space.run.root / "pool", pool.fingerprint, folder, pca, late)
        jobs.append(job)
        if pca and not late:
            fit_axes(job, dim or 0, pool, loaded, seed, progress)
        extract(job, pool, devices, loaded, progress)
        if late:
            fit_axes(job, dim or 0, pool, loaded, seed, progress)
        return job.stored(len(pool.completions))

    def after(folder: Path) -> dict[str, Any]:
        (job,) = jobs
        if pca:
            shutil.copyfile(job.folder / AXES, folder / AXES)
        cut = _cut(s, loaded, PoolExamples(pool))
        if not s.fidelity or not _projects(s, dim, loaded):
            return cut
        from whichpairs.workflow.features.fidelity import fidelity

        return cut | {"fidelity": fidelity(folder, job, dim or 0, loaded, pool, seed, progress)}

    inputs = {"model": loaded.fingerprint}
    return _Source({**common, **own}, inputs, notes, make, after)


def _cut(s: FeatureSettings, loaded: Any, examples: PoolExamples) -> dict[str, Any]:
    """How many texts were read only in part, and at how many tokens they were cut."""
    from whichpairs.features.cut import count_cut, count_cut_texts

    if s.method == "embed":
        texts: Any = s.texts
        cut, at = count_cut_texts(loaded, examples, texts, s.max_length)
        return {"cut": cut, "cut_at": at}
    return {"cut": count_cut(loaded, examples, s.max_length), "cut_at": s.max_length}


def _options(s: FeatureSettings, dim: int | None) -> dict[str, Any]:
    """The method's own settings."""
    chosen: dict[str, Any] = {"dim": dim, "max_length": s.max_length}
    if s.model_dtype != FeatureSettings.model_dtype:
        chosen["model_dtype"] = s.model_dtype
    if s.method == "hidden":
        return {
            **chosen,
            "pooling": s.pooling,
            **({} if s.layer is None else {"layer": s.layer}),
        }
    if s.method == "embed":
        return {**chosen, "texts": s.texts}
    if s.parameters != "all":
        chosen["parameters"] = s.parameters
    if s.parameters == "lora":
        chosen["lora_rank"] = s.lora_rank
    if s.normalise != "none":
        chosen["normalise"] = s.normalise
    return {**chosen, "projection": s.projection}


def _recipe(s: FeatureSettings, seed: int, dim: int | None, pca: bool) -> Recipe:
    options = {**_options(s, dim), "seed": seed}
    options.pop("projection", None)
    options.pop("model_dtype", None)
    if pca:
        from whichpairs.features.pca import MOST, WIDER

        if dim is None or dim > MOST:
            raise UserError(
                f"--projection pca takes at most {MOST} dimensions",
                f"got {dim}",
                "pass a smaller --dim, or --projection random",
            )
        options["dim"] = WIDER * dim
    assert s.model is not None
    return Recipe(s.method, s.model, s.batch_size, options, s.model_dtype)


def _projects(s: FeatureSettings, dim: int | None, loaded: Any) -> bool:
    """Whether anything is lost between the model and the file."""
    if s.method == "gradient":
        return True
    if dim is None:
        return False
    size = loaded.dim if s.method == "embed" else loaded.model.config.get_text_config().hidden_size
    return dim < size


def _made_from(space: Workspace, batch: str, features: str) -> bool:
    record = space.run.record("batches", batch)
    return record is not None and record.settings.get("features") == features


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()[:16]
