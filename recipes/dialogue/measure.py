"""What a trained policy is worth on held-out prompts: win rate, score, KL, and perplexity on real replies."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from judge_server import JUDGE, TEMPERATURE

from whichpairs import EvaluateSettings, evaluate_run
from whichpairs.evaluate.reward import load_reward
from whichpairs.evaluate.winrate import WORTH
from whichpairs.pool.pool import Pool
from whichpairs.types import Example, Verdict
from whichpairs.workflow.workspace import workspace

if TYPE_CHECKING:
    from lab import Stand

    from whichpairs.evaluate.policy import PolicyEvaluation
    from whichpairs.lm.model import LanguageModel

HERE = Path(__file__).parent


def measure(run: Path, url: str, model: str, of: "Stand", samples: int) -> dict[str, Any]:
    """The trained policy of a run against its reference.

    Args:
        url, model: the judge, which is asked in both orders; of: the language model.
        samples: replies of each to each held-out prompt; the k-th ones are compared, and share
            their noise.

    Returns:
        ``win_rate`` (a tie is half a win), ``score`` and ``reference_score`` (what the judge likes,
        logits, without its noise and favour), ``kl`` (nats), ``J`` = score − β KL and its ``gain``
        over the reference's, each an interval over the held-out prompts; the same ``by_prompt``; the judge's
        ``position_bias``; ``perplexity`` and ``reference_perplexity`` of the real replies, a token.
    """
    from whichpairs.evaluate.policy import evaluate_policy
    from whichpairs.lm.model import load

    length = of.settings["max_new_tokens"]
    sampling = {"samples": samples, "max_new_tokens": length, "seed": 0, "dtype": of.dtype}
    asked = EvaluateSettings(judge=url, judge_model=model, **sampling)
    judged = evaluate_run(run, asked).result
    with workspace(run) as space:
        pool, beta, name = space.pool, space.run.beta, space.run.finished("policies")[-1]
        compared = run / "judgements" / judged["judgement"] / "comparisons.jsonl"
    paths = (of.model, run / "policies" / name / "model")
    reference, policy = (load(path, dtype=of.dtype) for path in paths)
    held = [pool.messages(int(p)) for p in np.flatnonzero(pool.holdout)]
    reward = load_reward(JUDGE)

    def value(lm: "LanguageModel") -> "PolicyEvaluation":
        return evaluate_policy(
            lm,
            reference,
            held,
            reward,
            beta=beta,
            reward_scale=1.0 / TEMPERATURE,
            samples_per_prompt=samples,
            max_new_tokens=length,
            seed=0,
            reward_text="completion",
        )

    ours, theirs = value(policy), value(reference)
    won = wins_by_prompt(compared)
    gain = ours.objective - theirs.objective
    return {
        "by_prompt": {
            "win_rate": won,
            "score": ours.reward.tolist(),
            "kl": ours.kl.tolist(),
            "gain": gain.tolist(),
        },
        "win_rate": judged["win_rate"]["rate"],
        "comparisons": {k: v for k, v in judged["win_rate"].items() if k != "rate"},
        "position_bias": judged["position_bias"],
        "score": asdict(ours.mean_reward),
        "reference_score": asdict(theirs.mean_reward),
        "kl": asdict(ours.mean_kl),
        "J": asdict(ours.mean_objective),
        "gain": asdict(ours.minus(theirs)),
        "perplexity": perplexity(policy, pool),
        "reference_perplexity": perplexity(reference, pool),
        "held_out_prompts": len(held),
    }


def wins_by_prompt(comparisons: Path) -> list[float]:
    """Mean over each held-out prompt's comparisons, in the pool's order: 1 a win, ½ a tie."""
    worth: dict[str, list[float]] = {}
    for row in map(json.loads, comparisons.read_text(encoding="utf-8").splitlines()):
        choice = "tie" if row["verdict"] is None else Verdict(**row["verdict"]).choice
        worth.setdefault(row["prompt_id"], []).append(WORTH[choice])
    return [float(np.mean(values)) for values in worth.values()]


def perplexity(lm: "LanguageModel", pool: Pool) -> float:
    """exp of the mean loss a token on the annotators' chosen replies to the held-out prompts."""
    from whichpairs.lm.encode import encode_all
    from whichpairs.lm.logprobs import completion_logprobs

    rows = map(json.loads, (HERE / "prompts.jsonl").read_text(encoding="utf-8").splitlines())
    real = {json.dumps(row["prompt"]): row["reply"] for row in rows}
    held = [pool.messages(int(p)) for p in np.flatnonzero(pool.holdout)]
    examples = [Example(p, real[json.dumps(list(p))]) for p in held]
    encoded = encode_all(lm.tokenizer, examples, lm.context)
    tokens = sum(len(one.completion_ids) for one in encoded)
    return math.exp(-completion_logprobs(lm, encoded).sum() / tokens)
