"""`whichpairs features`."""

from pathlib import Path
from typing import Annotated

import typer

from whichpairs.cli.completions.unread import given, refuse_unread, say_idle
from whichpairs.cli.options.common import (
    BetaOption,
    JsonOption,
    ReplaceOption,
    RunOption,
    SeedOption,
    show,
)
from whichpairs.cli.progress import Bars

OF_A_MODEL = ("gradient", "hidden", "embed")
READERS = {
    **dict.fromkeys(("model", "max_length", "batch_size", "device"), OF_A_MODEL),
    **dict.fromkeys(("parameters", "lora_rank", "normalise", "projection"), ("gradient",)),
    **dict.fromkeys(("pooling", "layer"), ("hidden",)),
    "model_dtype": ("hidden",),
    "texts": ("embed",),
    "file": ("file",),
    **dict.fromkeys(("sets", "standardise"), ("join",)),
}
"""Which method reads an option; the others are read by all."""


def command(
    context: typer.Context,
    run: RunOption,
    method: Annotated[str, typer.Option(help="text, gradient, hidden, embed, file or join.")],
    dim: Annotated[
        int | None,
        typer.Option(help="Dimensions: 32 for text, 256 for gradient where not given."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the set; else the method.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Folder, GGUF file, hub name or smollm2; for embed, a sentence embedder's."
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="A .npy, one row a completion, in the order of RUN/pool/completions.parquet."
        ),
    ] = None,
    sets: Annotated[
        str | None,
        typer.Option(help="For join: feature sets and column:NAME of the pool, commas between."),
    ] = None,
    standardise: Annotated[
        bool, typer.Option("--standardise", help="For join: every column by its spread first.")
    ] = False,
    parameters: Annotated[
        str, typer.Option(help="For gradient: all, last-layer (the output head) or lora.")
    ] = "all",
    lora_rank: Annotated[int, typer.Option(min=1, help="Rank of the adapters, for lora.")] = 8,
    normalise: Annotated[
        str, typer.Option(help="For gradient: divide by tokens (mean), their root (sqrt), or none.")
    ] = "none",
    projection: Annotated[
        str, typer.Option(help="For gradient: pca (axes fitted to the pool) or random.")
    ] = "pca",
    pooling: Annotated[str, typer.Option(help="For hidden: last or mean.")] = "last",
    layer: Annotated[
        int | None, typer.Option(help="For hidden: after so many layers; else after all.")
    ] = None,
    texts: Annotated[
        str, typer.Option(help="For embed: completion, or both (the prompt too).")
    ] = "completion",
    max_length: Annotated[
        int | None, typer.Option(help="Most tokens a text; what is cut is counted.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Stored as float32 or float16.")] = "float32",
    model_dtype: Annotated[
        str, typer.Option(help="For hidden: computed in float32, bfloat16 or float16.")
    ] = "float32",
    batch_size: Annotated[int, typer.Option(min=1, help="Completions a pass.")] = 64,
    device: Annotated[
        str,
        typer.Option(help="cpu, cuda, mps or auto; several (cuda:0,cuda:1) share the work."),
    ] = "auto",
    fidelity: Annotated[
        bool, typer.Option(help="Measure what the projection costs the design.")
    ] = True,
    replace: ReplaceOption = False,
    beta: BetaOption = None,
    seed: SeedOption = None,
    json_: JsonOption = False,
) -> None:
    """Turn completions into vectors."""
    from whichpairs.workflow.features.stage import METHODS, FeatureSettings, compute_features

    options = given(context)
    if method in METHODS:
        refuse_unread(options, READERS, [method])
    settings = FeatureSettings(
        method=method,
        dim=dim,
        name=name,
        model=model,
        file=None if file is None else str(file),
        sets=sets,
        standardise=standardise,
        parameters=parameters,
        lora_rank=lora_rank,
        normalise=normalise,
        projection=projection,
        pooling=pooling,
        layer=layer,
        texts=texts,
        max_length=max_length,
        model_dtype=model_dtype,
        dtype=dtype,
        seed=seed,
        batch_size=batch_size,
        device=device,
        fidelity=fidelity,
    )
    with Bars(quiet=json_) as bars:
        outcome = compute_features(run, settings, replace=replace, beta=beta, progress=bars)
    show(say_idle(outcome, options), json_)
