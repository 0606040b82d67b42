"""Stage evaluate: reward, KL and J = E r − β KL of a policy on held-out prompts, with intervals."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.errors import UserError
from whichpairs.evaluate.interval import Interval, interval
from whichpairs.evaluate.pool_policy import policy_values
from whichpairs.label.simulate import check_temperature
from whichpairs.types import SILENT, Progress
from whichpairs.workflow.stage import Outcome, find
from whichpairs.workflow.workspace import Workspace, workspace


@dataclass(frozen=True)
class EvaluateSettings:
    """What the user chose.

    Exactly one of `score` and `reward`: with a score the log-linear policy of a fit is evaluated
    exactly on the pool's own completions; with a reward a trained model is sampled.

    Args:
        score: a score of the pool; reward: a reward folder.
        policy: a policy's (or fit's) name; ``reference``; None is the latest.
        temperature: T of r = score / T; None is that of the simulated labels, else 1.
        samples: completions a prompt; max_new_tokens: their length (reward only).
    """

    score: str | None = None
    reward: str | None = None
    policy: str | None = None
    temperature: float | None = None
    samples: int = 8
    max_new_tokens: int = 64
    seed: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if (self.score is None) == (self.reward is None):
            raise UserError(
                "evaluate takes either --score COLUMN (the fit, on the pool) or --reward FOLDER"
                " (a trained model, sampled)",
                "got both" if self.score else "got neither",
            )
        if self.samples < 1 or self.max_new_tokens < 1:
            raise UserError(
                "samples and max-new-tokens must be at least 1",
                f"got {self.samples} and {self.max_new_tokens}",
            )


def evaluate_run(
    run: str | Path,
    settings: EvaluateSettings,
    *,
    beta: float | None = None,
    progress: Progress = SILENT,
) -> Outcome:
    """Evaluate a policy, and the reference beside it, on the held-out prompts.

    Raises:
        UserError: no held-out prompts, no such policy, no such score.
    """
    with workspace(run, beta) as space:
        held = np.flatnonzero(space.pool.holdout)
        if len(held) == 0:
            raise UserError(
                "evaluation needs held-out prompts",
                "this run has none",
                "import or generate into a new run with --holdout 0.2",
            )
        kind = "fits" if settings.score is not None else "policies"
        name = _policy(space, kind, settings.policy)
        scale = _temperature(space, settings.temperature)
        chosen = {**asdict(settings), "policy": name, "temperature": scale, "beta": space.run.beta}
        chosen["seed"] = space.run.seed if settings.seed is None else settings.seed
        del chosen["device"]
        inputs = {"pool": space.pool.fingerprint, "made": _created(space, kind, name)}
        before = find(space.run, "evaluations", "evaluate", chosen, inputs)
        if before is not None:
            message = f"Evaluation {before[0]} is of this policy and settings; nothing changed."
            folder = space.run.root / "evaluations" / before[0]
            return Outcome(message, before[1].result, True, folder)
        if settings.score is not None:
            values = _on_pool(space, settings.score, name, scale)
        else:
            values = _sampled(space, settings, name, scale, int(chosen["seed"]), progress)
        return _write(space, name, values, chosen, inputs)


Values = dict[str, tuple[np.ndarray, np.ndarray]]
"""For ``policy`` and ``reference``: reward and KL of every held-out prompt."""


def _on_pool(space: Workspace, score: str, name: str, temperature: float) -> Values:
    reward = space.score(score) / temperature
    keep = space.pool.holdout[space.pool.prompt_of]
    starts = np.concatenate([[0], np.cumsum(np.diff(space.pool.starts)[space.pool.holdout])])
    found: Values = {}
    for who, fit in (("policy", name), ("reference", "reference")):
        if fit == "reference":
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
    name: str,
    temperature: float,
    seed: int,
    progress: Progress,
) -> Values:
    from whichpairs.evaluate.policy import evaluate_policy
    from whichpairs.evaluate.reward import load_reward
    from whichpairs.lm.model import load

    assert settings.reward is not None
    reward = load_reward(settings.reward)
    base = _reference_path(space, name)
    reference = load(base, device=settings.device)
    prompts = [space.pool.messages(int(p)) for p in np.flatnonzero(space.pool.holdout)]
    found: Values = {}
    progress.start("evaluation", 2)
    for who in ("policy", "reference"):
        folder = space.run.root / "policies" / name / "model"
        is_reference = who == "reference" or name == "reference"
        policy = reference if is_reference else load(folder, device=settings.device)
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
        found[who] = (done.reward, done.kl)
        progress.advance()
    progress.finish()
    return found


def _write(
    space: Workspace, name: str, values: Values, chosen: dict[str, Any], inputs: dict[str, Any]
) -> Outcome:
    number = space.run.next_number("evaluations")
    beta = space.run.beta
    result: dict[str, Any] = {"evaluation": number, "policy": name, "beta": beta}
    objective = {who: reward - beta * kl for who, (reward, kl) in values.items()}
    for who, (reward, kl) in values.items():
        quantities = {"reward": reward, "kl": kl, "J": objective[who]}
        result[who + "_values"] = {k: asdict(interval(v)) for k, v in quantities.items()}
    result["gain"] = asdict(interval(objective["policy"] - objective["reference"]))
    result["held_out_prompts"] = len(objective["policy"])

    def make(folder: Path) -> dict[str, Any]:
        for who, (reward, kl) in values.items():
            np.save(folder / f"{who}.npy", np.stack([reward, kl], axis=1), allow_pickle=False)
        return result

    space.run.commit(("evaluations", number), "evaluate", chosen, inputs, make)
    return Outcome(_table(result), result, False, space.run.root / "evaluations" / number)


def _table(result: dict[str, Any]) -> str:
    lines = [f"{'':12}{'reward':>20}{'KL':>20}{'J':>20}"]
    for who in ("reference", "policy"):
        cells = [str(Interval(**v)) for v in result[who + "_values"].values()]
        lines.append(f"{who:12}" + "".join(f"{cell:>20}" for cell in cells))
    gain = Interval(**result["gain"])
    lines.append(
        f"gain in J over the reference: {gain} (95 % interval over "
        f"{result['held_out_prompts']} held-out prompts)"
    )
    return "\n".join(lines)


def _policy(space: Workspace, kind: str, name: str | None) -> str:
    names = space.run.finished(kind)
    if name == "reference" or (name is None and not names):
        return "reference"
    if name is not None and name not in names:
        raise UserError(
            "--policy must name one of the run's",
            f"got {name!r}; there is {', '.join(names) or 'none'}",
        )
    return name or names[-1]


def _reference_path(space: Workspace, name: str) -> str:
    record = space.run.record("policies", name)
    names = space.run.finished("policies")
    record = record or (space.run.record("policies", names[-1]) if names else None)
    if record is None:
        raise UserError(
            "a sampled evaluation needs a trained policy",
            "there is none",
            f"run: whichpairs train --run {space.run.root} --model PATH",
        )
    return str(record.result["reference"])


def _temperature(space: Workspace, given: float | None) -> float:
    if given is not None:
        check_temperature(given)
        return given
    sources = space.store.sources().values()
    return next((float(s["temperature"]) for s in sources if s["kind"] == "simulated"), 1.0)


def _created(space: Workspace, kind: str, name: str) -> str | None:
    record = space.run.record(kind, name) if name != "reference" else None
    return record.created if record else None
