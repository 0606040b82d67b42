"""Stage generate: a pool sampled from one model or several, in pieces that survive a kill."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from whichpairs.errors import UserError
from whichpairs.pool.near_duplicates import near_duplicates
from whichpairs.pool.pool import hold_out
from whichpairs.pool.reading.read import PoolTables, pool_from_samples, read_prompts
from whichpairs.run.files import to_json, write_whole
from whichpairs.run.folder import Record, Run, create_run, locked
from whichpairs.run.once import Outcome, differences
from whichpairs.streams import derived_seed
from whichpairs.types import SILENT, Message, Progress
from whichpairs.wording import counted, counted_of, listed, plural
from whichpairs.workflow.import_pool import add_pool
from whichpairs.workflow.settings.generate import GenerateSettings

if TYPE_CHECKING:
    from whichpairs.generate.backend import Sample
    from whichpairs.generate.sources import Source

Prompt = str | tuple[Message, ...]
_OF_A_SOURCE = (
    *("model", "n", "max_new_tokens", "temperature", "top_p", "top_k", "stop", "backend", "server"),
    *("key_variable", "requests_at_once", "requests_per_minute", "retries", "timeout"),
    *("batch_size", "device", "dtype"),
)


def generate_pool(
    run: str | Path,
    settings: GenerateSettings,
    *,
    beta: float | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Sample `n` completions of every prompt from every source; a killed call goes on where it
    stopped.

    Identical completions of a prompt are merged and counted, which is their weight under π_ref.

    Raises:
        UserError: no model, no prompts, a server that says no, or the run has another pool (or
            the start of one).
    """
    if settings.n < 1 or settings.chunk < 1:
        raise UserError("n and chunk must be at least 1", f"got {settings.n} and {settings.chunk}")
    sources = _sources(settings)
    found = read_prompts(settings.prompts, settings.prompt_column)
    # Messages are no keys of a dictionary; their JSON is.
    asked = list({json.dumps(p): p for p in (_as_asked(p, settings) for p in found)}.values())
    _check_holdout(len(asked), settings)
    chosen = _chosen(settings, sources, asked)
    with locked(Path(run)):
        opened = create_run(Path(run), beta, settings.seed)
        record = opened.record("pool")
        if record is None:
            _begin(opened, chosen)
            try:
                _sample_all(opened, sources, asked, settings, progress)
            except UserError:
                _forget_if_empty(opened)
                raise
        elif record.stage != "generate" or record.settings != chosen:
            raise UserError(
                "a run has one pool",
                f"it has one already: {differences(record, chosen, {})}",
                "start another run",
            )
        done = _assemble(opened, asked, settings, sources, chosen, len(found) - len(asked))
    said = _asked_as_they_were(found, settings)
    return replace(done, message=" ".join([done.message, *said]))


def check_read(settings: GenerateSettings, options: Mapping[str, str]) -> None:
    """Refuse what the user asked for and nothing of this call reads.

    Args:
        options: what the user gave: the setting's name, and the option as it is written.

    Raises:
        UserError: one is of no use; or as `generate_pool`.
    """
    from whichpairs.generate.sources import left_to_options, reads

    if "prompt_column" in options and settings.prompts.lower().endswith(".txt"):
        raise UserError(
            f"{options['prompt_column']} is for files with columns",
            f"got it with {settings.prompts}",
            "leave it out",
        )
    sources = _sources(settings)
    names = [name for name in _OF_A_SOURCE if name in options]
    if settings.sources is None:
        (only,) = sources
        unread = [options[name] for name in names if not reads(only.backend, name)]
        got = f"the back-end {only.backend} does not read {listed(unread, 'or')}"
    else:
        taken = left_to_options(settings.sources, _usual(settings))
        unread = [options[name] for name in names if name not in taken]
        got = (
            f"every source of {settings.sources} sets {listed(unread, 'or')} itself or has no "
            "use for it"
        )
    if unread:
        raise UserError(
            "an option must be of use to a source of completions",
            got,
            f"leave {plural(len(unread), 'it', 'them')} out",
        )


def _check_holdout(prompts: int, s: GenerateSettings) -> None:
    """Refuse a share of prompts before anything is drawn, and paid for."""
    columns = {"prompt_id": pl.String, "group": pl.String}
    rows = [{"prompt_id": str(i), "group": None} for i in range(prompts)]
    hold_out(pl.DataFrame(rows, schema=columns), s.holdout, s.seed)


def _sources(s: GenerateSettings) -> "list[Source]":
    """What the options, or the file of sources, name."""
    from whichpairs.generate.sources import read_sources

    usual = _usual(s)
    return [usual.checked()] if s.sources is None else read_sources(s.sources, usual)


def _usual(s: GenerateSettings) -> "Source":
    """The source that the options describe."""
    from whichpairs.generate.backend import Sampling
    from whichpairs.generate.sources import Source, short_name

    return Source(
        name=short_name(s.model),
        backend=s.backend or ("transformers" if s.server is None else "server"),
        model=s.model,
        sampling=Sampling(s.n, s.max_new_tokens, s.temperature, s.top_p, s.top_k, s.stop),
        server=s.server,
        key_variable=s.key_variable,
        requests_at_once=s.requests_at_once,
        requests_per_minute=s.requests_per_minute,
        retries=s.retries,
        timeout=s.timeout,
        device=s.device,
        batch_size=s.batch_size,
        dtype=s.dtype,
    )


def _as_asked(prompt: Prompt, s: GenerateSettings) -> Prompt:
    """The prompt as the pool has it: what the model is asked, system message included."""
    if s.api not in (None, "chat", "completions"):
        raise UserError("api must be chat or completions", f"got {s.api!r}")
    if s.api == "completions" and (s.system is not None or not isinstance(prompt, str)):
        raise UserError(
            "--api completions takes plain prompts",
            "there is a system message" if s.system is not None else "some are chat messages",
            "leave --api out",
        )
    if isinstance(prompt, str) and s.api is None and s.system is None:
        return prompt
    turns = ({"role": "user", "content": prompt},) if isinstance(prompt, str) else prompt
    if s.system is None or turns[0]["role"] == "system":
        return turns
    return ({"role": "system", "content": s.system}, *turns)


def _asked_as_they_were(found: Sequence[Prompt], s: GenerateSettings) -> list[str]:
    """What --system and --api left as it was."""
    chats = [prompt for prompt in found if not isinstance(prompt, str)]
    own = sum(prompt[0]["role"] == "system" for prompt in chats)
    said = []
    if s.system is not None and own:
        has = counted_of(own, len(found), "prompt")
        said.append(f"{has} already had a system message, which stands in place of --system.")
    if s.api == "chat" and len(chats) == len(found):
        said.append("--api chat had no effect: every prompt is a conversation already.")
    return said


_NOT_THE_POOL = {"batch_size", "chunk", "device", "model", "prompts", "server", "key_variable"}
_NOT_THE_POOL |= {"requests_at_once", "requests_per_minute", "retries", "timeout", "sources"}
_LATER = {"stop", "api", "system", "backend", "dtype"}
"""Settings that are written down only where they are not the default."""


def _chosen(s: GenerateSettings, sources: "list[Source]", prompts: list[Prompt]) -> dict[str, Any]:
    """The settings that make the pool what it is; where a server stands is none of them."""
    usual = {f.name: f.default for f in fields(GenerateSettings)}
    kept = {k: v for k, v in asdict(s).items() if k not in _NOT_THE_POOL}
    kept = {k: v for k, v in kept.items() if k not in _LATER or v != usual[k]}
    kept["prompts_fingerprint"] = _digest(prompts)
    if s.sources is None:
        (only,) = sources
        kept |= {} if only.backend == "transformers" else {"backend": only.backend}
        kept["model_fingerprint"] = only.fingerprint()
    else:
        for name in (*asdict(sources[0].sampling), "backend", "dtype"):
            kept.pop(name, None)
        kept["sources"] = [_described(source) for source in sources]
    return json.loads(json.dumps(kept))


def _described(source: "Source") -> dict[str, Any]:
    drawing = asdict(source.sampling)
    made_by = {"name": source.name, "backend": source.backend}
    made_by |= {} if source.dtype == "float32" else {"dtype": source.dtype}
    return {**made_by, **drawing, "model_fingerprint": source.fingerprint()}


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


def _forget_if_empty(run: Run) -> None:
    """Remove a beginning in which nothing was drawn."""
    folder = run.root / "pool.partial"
    if {path.name for path in folder.iterdir()} == {"settings.json"}:
        shutil.rmtree(folder)


def _sample_all(
    run: Run, sources: "list[Source]", prompts: list[Prompt], s: GenerateSettings, bar: Progress
) -> None:
    """Draw what earlier calls have not drawn, one source after the other."""
    from whichpairs.endpoint.journal import Journal

    done = _drawn(run)
    bar.start("completions", len(prompts) * sum(source.sampling.n for source in sources))
    with closing(Journal(run.root / "pool.partial" / "answers.jsonl")) as journal:
        for number, source in enumerate(sources):
            todo = [i for i in range(len(prompts)) if (number, i) not in done]
            bar.advance((len(prompts) - len(todo)) * source.sampling.n)
            if not todo:
                continue
            backend = source.open(journal)
            step = len(todo) if backend.keeps_answers else s.chunk
            for at in range(0, len(todo), step):
                part = todo[at : at + step]
                drawn = backend.sample(
                    [prompts[i] for i in part],
                    source.sampling,
                    seed=derived_seed(s.seed, number),
                    indices=part,
                    progress=bar,
                )
                _write_chunk(run, number, part, drawn)
    bar.finish()


def _write_chunk(run: Run, number: int, part: list[int], drawn: "list[list[Sample]]") -> None:
    rows = [
        {"source": number, "prompt": index, "samples": [asdict(one) for one in many]}
        for index, many in zip(part, drawn, strict=True)
    ]
    path = run.root / "pool.partial" / f"{number:03d}-{part[0]:09d}.jsonl"
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))


def _drawn(run: Run) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """Samples by source and prompt that earlier calls finished."""
    done: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for path in sorted((run.root / "pool.partial").glob("???-*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            done[row["source"], row["prompt"]] = row["samples"]
    return done


def _assemble(
    run: Run,
    prompts: list[Prompt],
    s: GenerateSettings,
    sources: "list[Source]",
    chosen: dict[str, Any],
    repeated: int,
) -> Outcome:
    record = run.record("pool")
    before = record is not None
    if record is None:
        drawn = _drawn(run)
        samples = [
            [
                {**one, "source": source.name}
                for number, source in enumerate(sources)
                for one in drawn[number, index]
            ]
            for index in range(len(prompts))
        ]
        tables = pool_from_samples(prompts, samples)
        more = {
            "near_duplicates": _near_duplicates(tables),
            "prompts_repeated": repeated,
            "prompts_without_completion": len(prompts) - len(tables.prompts),
            "cut_off": int((~tables.completions["finished"]).sum()),
        }
        tables.counts.update(more)
        held: pl.DataFrame = hold_out(tables.prompts, s.holdout, s.seed)
        record, _ = add_pool(run, "generate", chosen, held, tables)
    shutil.rmtree(run.root / "pool.partial", ignore_errors=True)
    return _outcome(run, record, before)


def _near_duplicates(tables: PoolTables) -> int:
    sizes = tables.completions["prompt_id"].rle().struct.field("len").to_numpy()
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return int(near_duplicates(tables.completions["completion"].to_list(), starts).sum())


def _outcome(run: Run, record: Record, before: bool) -> Outcome:
    r = record.result
    message = f"{counted(r['completions'], 'completion')} of {counted(r['prompts'], 'prompt')}"
    message += (
        f" ({r['held_out_prompts']} held out), {counted(r['duplicates_merged'], 'duplicate')} "
        "merged"
    )
    near = r.get("near_duplicates", 0)
    share = near / r["completions"]
    message += f", {counted(near, 'near-duplicate')} kept ({100 * share:.1f} %)."
    message += "".join(f" {counted(r[key], *text)}." for key, text in _ASIDE.items() if r.get(key))
    message = "The pool is there already; nothing changed." if before else message
    result = {**r, "near_duplicate_share": share}
    return Outcome(message, result, before, run.root / "pool")


_ASIDE = {
    "empty_samples_dropped": ("empty sample left out", "empty samples left out"),
    "prompts_without_completion": (
        "prompt got nothing but empty samples and is not in the pool",
        "prompts got nothing but empty samples and are not in the pool",
    ),
    "single_completion_prompts": (
        "prompt with one completion: never picked",
        "prompts with one completion: never picked",
    ),
    "prompts_repeated": (
        "prompt repeats another of the file and was not asked again",
        "prompts repeat another of the file and were not asked again",
    ),
    "alike_prompts": (
        "prompt equals an earlier one but for blanks or the form of accents",
        "prompts equal an earlier one but for blanks or the form of accents",
    ),
    "cut_off": (
        "completion was cut off at --max-new-tokens",
        "completions were cut off at --max-new-tokens",
    ),
}
"""What a pool leaves out, or has that its user might not expect: a count's name, and the words for
one and for many."""


def _digest(prompts: list[Prompt]) -> str:
    return hashlib.sha256(json.dumps(prompts).encode()).hexdigest()[:16]
