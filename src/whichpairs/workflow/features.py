"""Stage features: completions become vectors φ, centred within their prompt and stored."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.errors import UserError
from whichpairs.features.store import NAME, write_features
from whichpairs.types import SILENT, Progress
from whichpairs.workflow.stage import Outcome, plain_name, settle
from whichpairs.workflow.workspace import Workspace, workspace

METHODS = ("text", "gradient", "hidden", "file")
DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class FeatureSettings:
    """What the user chose.

    Args:
        method: one of `METHODS`.
        dim: d; None is 32 for text, 256 for gradient, the hidden size for hidden; the file's for file.
        name: of the feature set; None is the method.
        model: for gradient and hidden, a model folder or hub name.
        file: for file, a ``.npy`` with one row a completion in pool order.
        pooling: for hidden, ``last`` or ``mean``.
        max_length: for gradient and hidden, the most tokens of prompt and completion.
        dtype: stored precision, ``float32`` or ``float16``.
        seed: None is the run's.
    """

    method: str
    dim: int | None = None
    name: str | None = None
    model: str | None = None
    file: str | None = None
    pooling: str = "last"
    max_length: int | None = None
    dtype: str = "float32"
    seed: int | None = None
    batch_size: int = 64
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UserError(f"method must be one of {', '.join(METHODS)}", f"got {self.method!r}")
        if self.dtype not in DTYPES:
            raise UserError(f"dtype must be one of {', '.join(DTYPES)}", f"got {self.dtype!r}")
        if self.dim is not None and self.dim < 1:
            raise UserError("dim must be at least 1", f"got {self.dim}")
        needs = {"gradient": "model", "hidden": "model", "file": "file"}.get(self.method)
        if needs and getattr(self, needs) is None:
            raise UserError(f"--method {self.method} needs --{needs}", "it was not given")
        if self.name is not None:
            plain_name(self.name)


def compute_features(
    run: str | Path,
    settings: FeatureSettings,
    *,
    replace: bool = False,
    beta: float | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Compute a feature set and let it appear in the run.

    Raises:
        UserError: it is there with other settings (unless `replace`); features that are not finite,
            constant, or of another number of rows; no model.
    """
    with workspace(run, beta) as space:
        source = _source(space, settings, progress)
        inputs = {"pool": space.pool.fingerprint, **source.inputs}
        name = settings.name or settings.method

        def make(folder: Path) -> dict[str, Any]:
            dim = write_features(folder, source.blocks(), space.pool.starts, settings.dtype)
            progress.finish()
            shape = {"rows": len(space.pool.completions), "dim": dim}
            return {
                "features": name,
                **shape,
                **source.notes,
                "fingerprint": _digest(folder / NAME),
            }

        users = [b for b in space.run.finished("batches") if _made_from(space, b, name)]
        loses = f"the features that batches {', '.join(users)} were picked from" if users else ""
        loses = loses or "only the features themselves"
        record, before = settle(
            space.run,
            ("features", name),
            "features",
            source.settings,
            inputs,
            make,
            replace=replace,
            loses=loses,
        )
        r = record.result
        message = (
            f"Features {name!r} are there already; nothing changed."
            if before
            else f"Features {name!r}: {r['rows']} completions × {r['dim']} dimensions."
        )
        return Outcome(message, r, before, space.run.root / "features" / name)


@dataclass(frozen=True)
class _Source:
    """Where blocks of rows come from, and what identifies them."""

    settings: dict[str, Any]
    inputs: dict[str, Any]
    notes: dict[str, Any]
    make: Any

    def blocks(self) -> Iterable[np.ndarray]:
        blocks: Iterable[np.ndarray] = self.make()
        return blocks


def _source(space: Workspace, s: FeatureSettings, progress: Progress) -> _Source:
    seed = space.run.seed if s.seed is None else s.seed
    common = {"method": s.method, "seed": seed, "dtype": s.dtype}
    if s.method == "text":
        return _text(space, s.dim or 32, seed, common, progress)
    if s.method == "file":
        return _file(space, s, common)
    return _model(space, s, seed, common, progress)


def _text(
    space: Workspace, dim: int, seed: int, common: dict[str, Any], progress: Progress
) -> _Source:
    from whichpairs.features.standardise import centre_and_clip
    from whichpairs.features.text import text_features

    def make() -> Iterator[np.ndarray]:
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

    def make() -> Iterator[np.ndarray]:
        for at in range(0, len(features), 65536):
            yield np.asarray(features[at : at + 65536], dtype=np.float64)

    return _Source(common, {"file": _digest(path)}, {}, make)


def _model(
    space: Workspace, s: FeatureSettings, seed: int, common: dict[str, Any], progress: Progress
) -> _Source:
    from whichpairs.lm.model import load

    assert s.model is not None
    lm = load(s.model, device=s.device)
    chosen = {**common, "max_length": s.max_length}
    examples = space.pool.examples(range(len(space.pool.completions)))
    options: dict[str, Any] = {"seed": seed, "batch_size": s.batch_size, "max_length": s.max_length}
    if s.method == "hidden":
        from whichpairs.features.hidden import hidden_features

        pooling, dim = s.pooling, s.dim
        chosen |= {"pooling": pooling, "dim": dim}
        return _Source(
            chosen,
            {"model": lm.fingerprint},
            {"model": lm.path},
            lambda: hidden_features(
                lm,
                examples,
                pooling=pooling,  # type: ignore[arg-type]
                dim=dim,
                progress=progress,
                **options,
            ),
        )
    from whichpairs.features.gradient import coverage, gradient_features

    share, missing = coverage(lm)
    wide = s.dim or 256
    return _Source(
        {**chosen, "dim": wide},
        {"model": lm.fingerprint},
        {"model": lm.path, "parameters_covered": share, "parameters_left_out": missing},
        lambda: gradient_features(lm, examples, dim=wide, progress=progress, **options),
    )


def _made_from(space: Workspace, batch: str, features: str) -> bool:
    record = space.run.record("batches", batch)
    return record is not None and record.settings.get("features") == features


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()[:16]
