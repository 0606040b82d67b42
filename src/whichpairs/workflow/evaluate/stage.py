"""Stage evaluate: reward, KL and J = E r − β KL of a policy on held-out prompts, with intervals.

What a judge prefers is in `judged`, what training cost in `capability`.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.design.estimate.policy import policy_values
from whichpairs.errors import UserError
from whichpairs.evaluate.interval import Interval, interval
from whichpairs.evaluate.verdict import verdict
from whichpairs.label.settings import check_temperature
from whichpairs.run.files import read_array
from whichpairs.run.once import Outcome, find
from whichpairs.types import SILENT, Progress
from whichpairs.wording import counted
from whichpairs.workflow.evaluate.policies import (
    REFERENCE,
    created,
    model_path,
    policy_name,
    reference_path,
    reference_print,
)
from whichpairs.workflow.evaluate.settings import EvaluateSettings
from whichpairs.workflow.workspace import Workspace, workspace


def evaluate_run(
    run: str | Path,
    settings: EvaluateSettings,
    *,
    beta: float | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Evaluate a policy, and the reference beside it, on the held-out prompts (or on given files).

    Raises:
        UserError: no held-out prompts, no such policy, no such score, file or server.
    """
    with workspace(run, beta) as space:
        if settings.perplexity or settings.tasks:
            from whichpairs.workflow.evaluate.capability import check_capability

            return check_capability(space, settings, progress)
        held = np.flatnonzero(space.pool.holdout)
        if len(held) == 0:
            raise UserError(
                "evaluation needs held-out prompts",
                "this run has none",
                "import or generate into a new run with --holdout 0.2",
            )
        if settings.max_new_tokens is None:
            settings = replace(settings, max_new_tokens=_pool_length(space))
        if settings.judge is not None:
            from whichpairs.workflow.evaluate.by_judge import judge_policy

            return judge_policy(space, settings, progress)
        return _by_reward(space, settings, progress)


def _pool_length(space: Workspace) -> int:
    """The most tokens that a generated pool's completions could have; 64 for another pool."""
    record = space.run.record("pool")
    made = record.settings if record else {}
    lengths = [one.get("max_new_tokens") for one in (made, *made.get("sources", ()))]
    return max((n for n in lengths if isinstance(n, int)), default=64)


def _by_reward(space: Workspace, settings: EvaluateSettings, progress: Progress) -> Outcome:
    kind = "fits" if settings.score is not None else "policies"
    names = {"policy": policy_name(space, kind, settings.policy), "reference": REFERENCE}
    if settings.against is not None:
        names["against"] = policy_name(space, kind, settings.against, "against")
    scale = _temperature(space, settings.temperature)
    chosen = _chosen(space, settings, names, scale)
    inputs = {"pool": space.pool.fingerprint, "made": created(space, kind, names["policy"])}
    if "against" in names:
        inputs["made_against"] = created(space, kind, names["against"])
    inputs |= _judged_by(space, settings, names["policy"])
    before = find(space.run, "evaluations", "evaluate", chosen, inputs)
    if before is not None:
        message = f"Evaluation {before[0]} is of this policy and settings; nothing changed."
        folder = space.run.root / "evaluations" / before[0]
        return Outcome(message, before[1].result, True, folder)
    if settings.score is not None:
        values = _on_pool(space, settings.score, names, scale)
    else:
        known = _reference_known(space, chosen, inputs)
        values = _sampled(space, settings, names, scale, int(chosen["seed"]), known, progress)
    return _write(space, names, values, chosen, inputs)


def _reference_known(space: Workspace, chosen: dict[str, Any], inputs: dict[str, Any]) -> "Values":
    """What an earlier evaluation of this run found for the reference, by the same settings; nothing
    if none."""
    which, made = ("policy", "against"), ("made", "made_against")
    for name in space.run.finished("evaluations"):
        record = space.run.record("evaluations", name)
        if record is None or "reward" not in record.inputs:
            continue
        same = _without(record.settings, which) == _without(chosen, which)
        if same and _without(record.inputs, made) == _without(inputs, made):
            values = read_array(space.run.root / "evaluations" / name / "reference.npy")
            return {REFERENCE: (values[:, 0], values[:, 1])}
    return {}


def _without(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if k not in names}


def _judged_by(space: Workspace, settings: EvaluateSettings, policy: str) -> dict[str, str]:
    """Fingerprints of the score's values; or of the reward and of the reference that is sampled."""
    if settings.score is not None:
        return {"score": space.score_print(settings.score)}
    from whichpairs.lm.folder import fingerprint

    assert settings.reward is not None
    reward = fingerprint(Path(settings.reward))
    return {"reward": reward, "reference": reference_print(space, policy, settings.model)}


def _chosen(
    space: Workspace, settings: EvaluateSettings, names: dict[str, str], scale: float
) -> dict[str, Any]:
    """What the manifest says was chosen, as far as it counts: a score on the pool draws nothing."""
    asked = ["score", "reward"]
    drawn: dict[str, Any] = {}
    if settings.score is None:
        asked += ["samples", "max_new_tokens"]
        drawn["seed"] = space.run.seed if settings.seed is None else settings.seed
        drawn |= settings.precision
    return {
        **{name: getattr(settings, name) for name in asked},
        **drawn,
        "policy": names["policy"],
        **({"against": names["against"]} if "against" in names else {}),
        "temperature": scale,
        "beta": space.run.beta,
    }


Values = dict[str, tuple[np.ndarray, np.ndarray]]
"""For ``policy``, ``reference`` (and ``against``): reward and KL of every held-out prompt."""


def _on_pool(space: Workspace, score: str, names: dict[str, str], temperature: float) -> Values:
    reward = space.score(score) / temperature
    keep = space.pool.holdout[space.pool.prompt_of]
    starts = np.concatenate([[0], np.cumsum(np.diff(space.pool.starts)[space.pool.holdout])])
    found: Values = {}
    for who, fit in names.items():
        if fit == REFERENCE:
            phi, theta = np.zeros((len(keep), 1)), np.zeros(1)
        else:
            record = space.run.record("fits", fit)
            assert record is not None
            features, _, phi = space.feature_set(record.settings["features"])
            theta = space.theta(fit, features)
        found[who] = policy_values(
            np.asarray(phi[keep]), starts, theta, reward[keep], space.pool.weight[keep]
        )
    return found


def _sampled(
    space: Workspace,
    settings: EvaluateSettings,
    names: dict[str, str],
    temperature: float,
    seed: int,
    known: Values,
    progress: Progress,
) -> Values:
    from whichpairs.evaluate.policy import evaluate_policy
    from whichpairs.evaluate.reward import load_reward
    from whichpairs.lm.model import load

    assert settings.reward is not None
    assert settings.max_new_tokens is not None
    reward = load_reward(settings.reward)
    base = reference_path(space, names["policy"], settings.model)
    how = {"device": settings.device, "dtype": settings.dtype}
    reference = load(base, **how)
    prompts = [space.pool.messages(int(p)) for p in np.flatnonzero(space.pool.holdout)]
    found: Values = {}
    progress.start("evaluation", len(names))
    for who, name in names.items():
        if name in known:
            found[who] = known[name]
            progress.advance()
            continue
        path = model_path(space, name, base)
        policy = reference if name == REFERENCE else load(path, **how)
        done = evaluate_policy(
            policy,
            reference,
            prompts,
            reward,
            beta=space.run.beta,
            reward_scale=1.0 / temperature,
            samples_per_prompt=settings.samples,
            max_new_tokens=settings.max_new_tokens,
            seed=seed,
        )
        found[who] = known[name] = (done.reward, done.kl)
        progress.advance()
    progress.finish()
    return found


def _write(
    space: Workspace,
    names: dict[str, str],
    values: Values,
    chosen: dict[str, Any],
    inputs: dict[str, Any],
) -> Outcome:
    number = space.run.next_number("evaluations")
    beta = space.run.beta
    result: dict[str, Any] = {"evaluation": number, "policy": names["policy"], "beta": beta}
    found = {who: _quantities(*pair, beta) for who, pair in values.items()}
    for who, quantities in found.items():
        result[who + "_values"] = {k: asdict(interval(v)) for k, v in quantities.items()}
    gains = {k: interval(v - found["reference"][k]) for k, v in found["policy"].items()}
    result["gain"] = asdict(gains["J"])
    if names["policy"] != REFERENCE:
        kl = interval(found["policy"]["kl"])
        result["verdict"] = asdict(verdict(gains["reward"], kl, gains["J"], beta))
    result["held_out_prompts"] = len(found["policy"]["J"])
    if "against" in names:
        result["against"] = names["against"]
        result["differences"] = {
            k: asdict(interval(v - found["against"][k])) for k, v in found["policy"].items()
        }

    def make(folder: Path) -> dict[str, Any]:
        for who, (reward, kl) in values.items():
            np.save(folder / f"{who}.npy", np.stack([reward, kl], axis=1), allow_pickle=False)
        return result

    space.run.commit(("evaluations", number), "evaluate", chosen, inputs, make)
    return Outcome(_table(result), result, False, space.run.root / "evaluations" / number)


def _quantities(reward: np.ndarray, kl: np.ndarray, beta: float) -> dict[str, np.ndarray]:
    return {"reward": reward, "kl": kl, "J": reward - beta * kl}


def _table(result: dict[str, Any]) -> str:
    lines = [f"{'':12}{'reward':>30}{'KL':>30}{'J':>30}"]
    shown = {"reference": "reference_values", "policy": "policy_values"}
    if "against" in result:
        shown |= {f"{result['against']}": "against_values", "difference": "differences"}
    for who, key in shown.items():
        cells = [str(Interval(**v)) for v in result[key].values()]
        lines.append(f"{who:12}" + "".join(f"{cell:>30}" for cell in cells))
    gain = Interval(**result["gain"])
    lines.append(
        f"gain in J over the reference: {gain} (95 % interval over "
        f"{counted(result['held_out_prompts'], 'held-out prompt')})"
    )
    if "verdict" in result:
        lines.append(result["verdict"]["sentence"])
    if "against" in result:
        ahead = Interval(**result["differences"]["J"])
        lines.append(f"J over that of {result['against']}: {ahead} (paired, prompt by prompt)")
    return "\n".join(lines)


def _temperature(space: Workspace, given: float | None) -> float:
    if given is not None:
        check_temperature(given)
        return given
    sources = space.store.sources().values()
    return next((float(s["temperature"]) for s in sources if s["kind"] == "simulated"), 1.0)
