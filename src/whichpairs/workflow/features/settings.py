"""What stage features is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from whichpairs.errors import UserError
from whichpairs.lm.precision import check_precision
from whichpairs.setting import SEED, Setting

METHODS = ("text", "gradient", "hidden", "file", "embed", "join")


_CHOICES = {
    "method": METHODS,
    "dtype": ("float32", "float16"),
    "parameters": ("all", "last-layer", "lora"),
    "normalise": ("none", "mean", "sqrt"),
    "projection": ("pca", "random"),
    "pooling": ("last", "mean"),
    "texts": ("completion", "both"),
}


_OF_A_MODEL = ("gradient", "hidden", "embed")


@dataclass(frozen=True)
class FeatureSettings:
    """What the user chose.

    Args:
        method: one of `METHODS`.
        dim: d; None is 32 for text, 256 for gradient, the model's own size for hidden and embed;
            the file's for file; for join all columns, or fewer axes.
        name: of the feature set; None is the method.
        model: for gradient and hidden, a language model's folder or hub name; for embed, a
            sentence-transformers model's.
        file: for file, a ``.npy`` with one row a completion in pool order.
        sets: for join, names with commas between: feature sets of the run, ``column:NAME`` for a
            column of the pool's completions (`workflow.features.join`); standardise: every column
            of theirs.
        parameters: for gradient, with respect to which ones: ``all``, ``last-layer`` (the output
            head alone) or ``lora`` (adapters of rank `lora_rank` on every linear layer but the
            head, at their initialisation).
        normalise: for gradient, what the log-probability of T tokens is divided by: ``none``,
            ``mean`` (T) or ``sqrt`` (√T).
        projection: for gradient, ``random``, or ``pca``: on to the d axes along which the pool's
            completions differ most, among 16 d random ones.
        pooling: for hidden, ``last`` or ``mean``; layer: after how many layers; None is after all.
        texts: for embed, ``completion`` or ``both`` (the prompt too).
        max_length: for gradient, hidden and embed, the most tokens of a text. What is cut is
            counted in the result: ``cut`` texts, at ``cut_at`` tokens.
        dtype: stored precision, ``float32`` or ``float16``.
        model_dtype: for hidden, in which the language model computes, see `lm.model.load`.
        seed: None is the run's.
        fidelity: measure what the projection costs the design.
        device: a torch device, or several with commas between, a process each.
    """

    method: Annotated[str, Setting("text, gradient, hidden, embed, file or join.")]
    dim: Annotated[
        int | None, Setting("Dimensions: 32 for text, 256 for gradient where not given.")
    ] = None
    name: Annotated[str | None, Setting("Name of the set; else the method.")] = None
    model: Annotated[
        str | None,
        Setting(
            "Folder, GGUF file, hub name or smollm2; for embed, a sentence embedder's.",
            read_by=_OF_A_MODEL,
        ),
    ] = None
    file: Annotated[
        str | None,
        Setting(
            "A .npy, one row a completion, in the order of RUN/pool/completions.parquet.",
            kind=Path,
            read_by=("file",),
        ),
    ] = None
    sets: Annotated[
        str | None,
        Setting(
            "For join: feature sets and column:NAME of the pool, commas between.", read_by=("join",)
        ),
    ] = None
    standardise: Annotated[
        bool, Setting("For join: every column by its spread first.", read_by=("join",))
    ] = False
    parameters: Annotated[
        str,
        Setting("For gradient: all, last-layer (the output head) or lora.", read_by=("gradient",)),
    ] = "all"
    lora_rank: Annotated[int, Setting("Rank of the adapters, for lora.", read_by=("gradient",))] = 8
    normalise: Annotated[
        str,
        Setting(
            "For gradient: divide by tokens (mean), their root (sqrt), or none.",
            read_by=("gradient",),
        ),
    ] = "none"
    projection: Annotated[
        str,
        Setting("For gradient: pca (axes fitted to the pool) or random.", read_by=("gradient",)),
    ] = "pca"
    pooling: Annotated[str, Setting("For hidden: last or mean.", read_by=("hidden",))] = "last"
    layer: Annotated[
        int | None,
        Setting("For hidden: after so many layers; else after all.", read_by=("hidden",)),
    ] = None
    texts: Annotated[
        str, Setting("For embed: completion, or both (the prompt too).", read_by=("embed",))
    ] = "completion"
    max_length: Annotated[
        int | None, Setting("Most tokens a text; what is cut is counted.", read_by=_OF_A_MODEL)
    ] = None
    dtype: Annotated[str, Setting("Stored as float32 or float16.")] = "float32"
    seed: Annotated[int | None, SEED] = None
    batch_size: Annotated[int, Setting("Completions a pass.", read_by=_OF_A_MODEL)] = 64
    device: Annotated[
        str,
        Setting(
            "cpu, cuda, mps or auto; several (cuda:0,cuda:1) share the work.", read_by=_OF_A_MODEL
        ),
    ] = "auto"
    fidelity: Annotated[bool, Setting("Measure what the projection costs the design.")] = True
    model_dtype: Annotated[
        str,
        Setting(
            "For hidden: computed in float32, bfloat16 or float16.",
            read_by=("hidden",),
            after="dtype",
        ),
    ] = "float32"

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise UserError(
                    f"{name} must be one of {', '.join(known)}", f"got {getattr(self, name)!r}"
                )
        for name in ("dim", "lora_rank", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1", f"got {value}")
        check_precision(self.model_dtype)
        if self.method != "hidden" and (self.model_dtype != "float32" or self.layer is not None):
            raise UserError(
                "--layer and --model-dtype are for --method hidden",
                f"got them with {self.method}",
                "leave them out",
            )
        needs = {"text": None, "file": "file", "join": "sets"}.get(self.method, "model")
        if needs and getattr(self, needs) is None:
            raise UserError(f"--method {self.method} needs --{needs}", "it was not given")
        if self.method != "join" and (self.sets is not None or self.standardise):
            raise UserError(
                "--sets and --standardise are for --method join",
                f"got them with {self.method}",
                "leave them out",
            )
        if self.name is not None:
            from whichpairs.run.once import plain_name

            plain_name(self.name)
