"""Stage generate: a pool sampled from a model, in chunks that survive a kill."""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.files import to_json, write_whole
from whichpairs.pool.pool import hold_out
from whichpairs.pool.read import pool_from_samples, read_prompts
from whichpairs.pool.run import Run, create_run, locked
from whichpairs.types import SILENT, Progress
from whichpairs.workflow.collect import add_pool
from whichpairs.workflow.stage import Outcome, differences

Prompt = str | tuple[dict[str, str], ...]


@dataclass(frozen=True)
class GenerateSettings:
    """What the user chose.

    Args:
        model: a model folder or hub name; prompts: a file of prompts.
        n: completions a prompt; max_new_tokens, temperature, top_p, top_k: see `Sampling`.
        holdout: share of prompts set aside for evaluation, in [0, 1).
        chunk: prompts a chunk, the unit of resuming (does not change the pool).
    """

    model: str
    prompts: str
    n: int = 16
    max_new_tokens: int = 64
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    prompt_column: str = "prompt"
    holdout: float = 0.0
    seed: int = 0
    batch_size: int = 256
    chunk: int = 64
    device: str = "auto"


def generate_pool(
    run: str | Path,
    settings: GenerateSettings,
    *,
    beta: float | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Sample `n` completions of every prompt; a killed call goes on where it stopped.

    Identical completions of a prompt are merged and counted, which is their weight under π_ref.

    Raises:
        UserError: no model, no prompts, or the run has another pool (or the start of one).
    """
    from whichpairs.lm.model import load

    if settings.n < 1 or settings.chunk < 1:
        raise UserError("n and chunk must be at least 1", f"got {settings.n} and {settings.chunk}")
    prompts = list(dict.fromkeys(read_prompts(settings.prompts, settings.prompt_column), True))
    lm = load(settings.model, device=settings.device)
    chosen = {k: v for k, v in asdict(settings).items() if k not in _NOT_THE_POOL}
    chosen |= {"model_fingerprint": lm.fingerprint, "prompts_fingerprint": _digest(prompts)}
    with locked(Path(run)):
        opened = create_run(Path(run), beta, settings.seed)
        record = opened.record("pool")
        if record is None:
            _begin(opened, chosen)
            _sample(opened, lm, prompts, settings, progress)
        elif record.stage != "generate" or record.settings != chosen:
            raise UserError(
                "a run has one pool",
                f"it has one already: {differences(record, chosen, {})}",
                "start another run",
            )
        return _assemble(opened, prompts, settings, chosen)


_NOT_THE_POOL = {"batch_size", "chunk", "device", "model", "prompts"}


def _begin(run: Run, chosen: dict[str, Any]) -> None:
    path = run.root / "pool.partial" / "settings.json"
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) == chosen:
            return
        raise UserError(
            "an unfinished pool goes on with the settings it began with",
            f"{path} has others",
            f"use those, or delete {path.parent} to lose what was generated",
        )
    write_whole(path, to_json(chosen))


def _sample(
    run: Run, lm: Any, prompts: list[Prompt], s: GenerateSettings, progress: Progress
) -> None:
    from whichpairs.generate.transformers import Sampling, sample

    sampling = Sampling(
        n=s.n,
        max_new_tokens=s.max_new_tokens,
        temperature=s.temperature,
        top_p=s.top_p,
        top_k=s.top_k,
    )
    done = _drawn(run)
    progress.start("completions", len(prompts) * s.n)
    progress.advance(len(done) * s.n)
    todo = [index for index in range(len(prompts)) if index not in done]
    for at in range(0, len(todo), s.chunk):
        part = todo[at : at + s.chunk]
        drawn = sample(
            lm,
            [prompts[i] for i in part],
            sampling,
            seed=s.seed,
            batch_size=s.batch_size,
            indices=part,
            progress=progress,
        )
        rows = [
            {"prompt": index, "samples": [asdict(one) for one in many]}
            for index, many in zip(part, drawn, strict=True)
        ]
        path = run.root / "pool.partial" / f"{part[0]:09d}.jsonl"
        write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))
    progress.finish()


def _drawn(run: Run) -> dict[int, list[dict[str, Any]]]:
    """Samples of every prompt that earlier calls finished."""
    done: dict[int, list[dict[str, Any]]] = {}
    for path in sorted((run.root / "pool.partial").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            done[row["prompt"]] = row["samples"]
    return done


def _assemble(
    run: Run, prompts: list[Prompt], s: GenerateSettings, chosen: dict[str, Any]
) -> Outcome:
    record = run.record("pool")
    before = record is not None
    if record is None:
        drawn = _drawn(run)
        tables = pool_from_samples(prompts, [drawn[i] for i in range(len(prompts))])
        held: pl.DataFrame = hold_out(tables.prompts, s.holdout, s.seed)
        record, _ = add_pool(run, "generate", chosen, held, tables)
    shutil.rmtree(run.root / "pool.partial", ignore_errors=True)
    r = record.result
    message = f"{r['completions']} completions of {r['prompts']} prompts"
    message += f" ({r['held_out_prompts']} held out), {r['duplicates_merged']} duplicates merged."
    message = "The pool is there already; nothing changed." if before else message
    return Outcome(message, r, before, run.root / "pool")


def _digest(prompts: list[Prompt]) -> str:
    return hashlib.sha256(json.dumps(prompts).encode()).hexdigest()[:16]
