"""What a language model prefers: a policy's completions, or those of the reference (or another
policy).

RUN/judge/answers.jsonl   every answer a judge gave in this run, so that none is paid for twice
RUN/judgements/001/       comparisons.jsonl (what was compared, and the verdict), manifest.json
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whichpairs.evaluate.interval import Interval
from whichpairs.run.once import Outcome, find
from whichpairs.types import Progress
from whichpairs.wording import counted
from whichpairs.workflow.evaluate.policies import (
    REFERENCE,
    created,
    model_path,
    policy_name,
    reference_path,
    reference_print,
)
from whichpairs.workflow.workspace import Workspace

if TYPE_CHECKING:
    from whichpairs.endpoint.client import ServerSettings
    from whichpairs.evaluate.winrate import WinRate
    from whichpairs.types import Verdict
    from whichpairs.workflow.evaluate.settings import EvaluateSettings


def judge_policy(space: Workspace, settings: "EvaluateSettings", progress: Progress) -> Outcome:
    """The win rate of a policy over its reference, or over `settings.against`, on held-out prompts.

    Both are sampled with one seed, so that they share their noise; the judge sees sample k of the
    one beside sample k of the other, in both orders. Two equal texts are a tie, unasked. A killed
    call asks only what was not answered when it is made again.

    Raises:
        UserError: no policy, or the server cannot be reached or says no.
    """
    from whichpairs.label.judge import RUBRIC

    server = _server(settings)
    names = [policy_name(space, "policies", settings.policy)]
    names.append(policy_name(space, "policies", settings.against or REFERENCE, "against"))
    chosen: dict[str, Any] = {
        "policy": names[0],
        "against": names[1],
        "judge_model": settings.judge_model,
        "rubric": RUBRIC if settings.rubric is None else settings.rubric,
        "samples": settings.samples,
        "max_new_tokens": settings.max_new_tokens,
        "seed": space.run.seed if settings.seed is None else settings.seed,
        **settings.precision,
    }
    inputs = {"pool": space.pool.fingerprint, "reference": reference_print(space, names[0])}
    inputs |= {f"made_{n}": created(space, "policies", n) or "" for n in names}
    before = find(space.run, "judgements", "evaluate", chosen, inputs)
    if before is not None:
        message = f"Judgement {before[0]} is of these policies and settings; nothing changed."
        return Outcome(message, before[1].result, True, space.run.root / "judgements" / before[0])
    prompts = [int(p) for p in np.flatnonzero(space.pool.holdout)]
    texts = _samples(space, settings, names, prompts, int(chosen["seed"]), progress)
    owner = np.repeat(prompts, settings.samples)
    verdicts = _ask(space, server, str(chosen["rubric"]), owner, texts, progress)
    return _write(space, chosen, inputs, owner, texts, verdicts)


def _server(settings: "EvaluateSettings") -> "ServerSettings":
    from whichpairs.endpoint.client import ServerSettings

    names = ("key_variable", "requests_at_once", "requests_per_minute", "retries", "timeout")
    how = {name: getattr(settings, name) for name in names}
    return ServerSettings(str(settings.judge), settings.judge_model, **how)


def _samples(
    space: Workspace,
    settings: "EvaluateSettings",
    names: list[str],
    prompts: list[int],
    seed: int,
    progress: Progress,
) -> list[list[str]]:
    """For each of the two, its completions: `settings.samples` of the first prompt, and so on."""
    from whichpairs.lm.encode import decode, encode_prompt
    from whichpairs.lm.gumbel import Sampling
    from whichpairs.lm.model import load
    from whichpairs.lm.sampler import draw

    base = reference_path(space, names[0])
    assert settings.max_new_tokens is not None
    sampling = Sampling(settings.samples, settings.max_new_tokens)
    progress.start("completions", 2 * len(prompts) * settings.samples)
    found = []
    for name in names:
        lm = load(model_path(space, name, base), device=settings.device, dtype=settings.dtype)
        ids = [encode_prompt(lm.tokenizer, space.pool.messages(p)) for p in prompts]
        drawn = draw(lm, ids, sampling, seed=seed, progress=progress)
        flat = [one.ids[: len(one.ids) - one.finished] for many in drawn for one in many]
        found.append(decode(lm.tokenizer, flat))
    progress.finish()
    return found


def _ask(
    space: Workspace,
    server: "ServerSettings",
    rubric: str,
    owner: np.ndarray,
    texts: list[list[str]],
    progress: Progress,
) -> "list[Verdict | None]":
    from whichpairs.endpoint.client import Client
    from whichpairs.endpoint.journal import Journal
    from whichpairs.label.judge import Question, judge

    pairs = list(zip(owner.tolist(), *texts, strict=True))
    places = [place for place, (_, a, b) in enumerate(pairs) if a != b]
    asked = [pairs[place] for place in places]
    questions = [Question(space.pool.messages(p), a, b) for p, a, b in asked]
    verdicts: list[Verdict | None] = [None] * len(pairs)
    if questions:
        journal = Journal(space.run.root / "judge" / "answers.jsonl")
        progress.start("answers", 2 * len(questions))
        said = judge(Client(server), questions, rubric=rubric, journal=journal, progress=progress)
        progress.finish()
        journal.close()
        for place, verdict in zip(places, said, strict=True):
            verdicts[place] = verdict
    return verdicts


def _write(
    space: Workspace,
    chosen: dict[str, Any],
    inputs: dict[str, Any],
    owner: np.ndarray,
    texts: list[list[str]],
    verdicts: "list[Verdict | None]",
) -> Outcome:
    from whichpairs.evaluate.winrate import win_rate
    from whichpairs.label.judge import position_bias

    number = space.run.next_number("judgements")
    rate = win_rate(verdicts, owner)
    bias = position_bias([v for v in verdicts if v is not None])
    result: dict[str, Any] = {
        "judgement": number,
        **{name: chosen[name] for name in ("policy", "against", "judge_model")},
        "win_rate": asdict(rate),
        "position_bias": asdict(bias) | {"range": bias.range},
    }
    ids = space.pool.prompts["prompt_id"].to_list()

    def make(folder: Path) -> dict[str, Any]:
        lines = [
            {
                "prompt_id": ids[prompt],
                "policy": a,
                "against": b,
                "verdict": None if verdict is None else asdict(verdict),
            }
            for prompt, a, b, verdict in zip(owner.tolist(), *texts, verdicts, strict=True)
        ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / "comparisons.jsonl").write_text(text, encoding="utf-8")
        return result

    space.run.commit(("judgements", number), "evaluate", chosen, inputs, make)
    message = _message(rate, bias.words, chosen)
    return Outcome(message, result, False, space.run.root / "judgements" / number)


def _message(rate: "WinRate", order: str, chosen: dict[str, Any]) -> str:
    won: Interval = rate.rate
    lines = [
        f"{chosen['judge_model']} prefers policy {chosen['policy']} to {chosen['against']} in "
        f"{won} of the comparisons (a tie is ½; 95 % interval over "
        f"{counted(rate.prompts, 'prompt')}).",
        f"{counted(rate.comparisons, 'comparison')}: {rate.wins} won, {rate.losses} lost, "
        f"{counted(rate.ties, 'tie')}, "
        f"of which {counted(rate.identical, 'pair')} of equal texts, {rate.disagreements} where "
        "the order changed the "
        f"answer, {rate.unread} not read.",
    ]
    return "\n".join([*lines, order] if order else lines)
