"""Stage fit: the Bradley–Terry fit in feature space, judged on held-out prompts alone."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, log_expit

from whichpairs.defaults import PRIOR_MARGIN_SPREAD
from whichpairs.design import Belief, PairSpace, prior
from whichpairs.design.estimate.bradley_terry import Fit, fit, posterior, quality
from whichpairs.design.estimate.calibrate import Calibration, as_array, calibrate, left_out_log_loss
from whichpairs.errors import UserError
from whichpairs.run.once import Outcome, find
from whichpairs.wording import counted
from whichpairs.workflow.workspace import Votes, Workspace, workspace


def fit_labels(
    run: str | Path,
    *,
    features: str | None = None,
    strength: float | None = None,
    seed: int | None = None,
    beta: float | None = None,
) -> Outcome:
    """Fit θ to the labels of prompts that are not held out.

    Two things come of it: the policy's θ (``theta.npy``), drawn out by ``policy_scale`` so that J
    is good, and what is believed of answers (``belief.npy``, `design.estimate.calibrate`), by which
    whatever is said of probabilities is said: cross-validated and held-out log loss, accuracy,
    calibration.

    Held-out accuracy, log loss and calibration come from labels of held-out prompts (imported
    ones, or controls); without any they are unknown, and the result says null. So is what the
    posterior foretold of them (`foretold`), by which `plan` judges its predictions.

    Args:
        strength: multiple of the default prior; None chooses it by five-fold log loss.

    Raises:
        UserError: no labels, no features, or a strength that is not above 0.
    """
    if strength is not None and not 0.0 < strength < float("inf"):
        raise UserError("prior strength must be a finite number above 0", f"got {strength}")
    with workspace(run, beta) as space:
        name, record, phi = space.feature_set(features)
        votes = space.votes(held_out=False)
        if len(votes.wins) == 0:
            raise UserError(
                "a fit needs labels of prompts that are not held out",
                "there are none",
                f"run: whichpairs select and whichpairs label --run {space.run.root}",
            )
        seed = space.run.seed if seed is None else seed
        settings = {
            "features": name,
            "strength": strength,
            "seed": seed,
            "beta": space.run.beta,
            "prior_spread": PRIOR_MARGIN_SPREAD,
        }
        inputs = {
            "pool": space.pool.fingerprint,
            "features": record.result["fingerprint"],
            "labels": space.labels_fingerprint,
        }
        before = find(space.run, "fits", "fit", settings, inputs)
        if before is not None:
            message = f"Fit {before[0]} is of these labels and settings; nothing changed."
            return Outcome(message, before[1].result, True, space.run.root / "fits" / before[0])
        done = _fit(space, phi, votes, strength, seed)
        result = _result(space, phi, votes, done)
        return _write(space, done, settings, inputs, result)


@dataclass(frozen=True)
class _Fitted:
    """The policy's fit and its posterior; and what is believed of answers, with its left-out
    loss."""

    policy: Fit
    posterior: Belief
    belief: Calibration
    left_out: float | None


def _fit(
    space: Workspace, phi: np.ndarray, votes: Votes, strength: float | None, seed: int
) -> _Fitted:
    pairs = PairSpace(phi, space.pool.starts, ~space.pool.holdout)
    h0 = prior(pairs, space.run.beta)
    z = pairs.differences(votes.pairs)
    beta = space.run.beta
    fitted = fit(z, votes.wins, beta, h0, votes.prompts, strength=strength, seed=seed)
    belief = calibrate(z, votes.wins, beta, h0, strength=strength)
    left_out = left_out_log_loss(
        *(z, votes.wins, beta, h0, votes.prompts), strength=strength, seed=seed
    )
    return _Fitted(fitted, posterior(fitted, z, beta, h0), belief, left_out)


def _result(space: Workspace, phi: np.ndarray, votes: Votes, done: _Fitted) -> dict[str, Any]:
    held = space.votes(held_out=True)
    result: dict[str, Any] = {
        "labels": len(votes.wins),
        "prior_strength": done.policy.strength,
        "policy_scale": done.policy.scale,
        "calibration": {"prior_strength": done.belief.strength, "file": "belief.npy"},
        "cv_log_loss": done.left_out,
        "held_out_labels": len(held.wins),
        "held_out": None,
        "foretold_held_out": None,
    }
    if len(held.wins):
        z = PairSpace(phi, space.pool.starts).differences(held.pairs)
        found = asdict(quality(done.belief.logits(z, space.run.beta), held.wins))
        result["held_out"] = found
        for key in ("accuracy", "log_loss", "calibration_error"):
            result[f"held_out_{key}"] = found[key]
        result["foretold_held_out"] = foretold(
            done.posterior, space.run.beta, z, held.wins, held.prompts
        )
    return result


def foretold(
    belief: Belief, beta: float, z: np.ndarray, wins: np.ndarray, prompts: np.ndarray
) -> dict[str, Any]:
    """The log loss that a belief foretells of answers that it has not seen, and theirs, in nats.

    By P(first preferred) = E σ(η) for a margin η ~ N(m, s²), as σ(κ m) with κ = (1 + π s²/8)^−½
    (MacKay 1992). `standard_error` is of the log loss found, by prompts; None for a single prompt.

    Args:
        z: feature differences, (n, d); wins: 1, 0 or ½ for a tie, (n,); prompts: of each, (n,).
    """
    root = belief.root()
    spread = np.zeros((len(z), 1)) if root is None else beta * (z @ root)
    kappa = 1.0 / np.sqrt(1.0 + (np.pi / 8.0) * np.sum(spread**2, axis=1))
    margins = kappa * beta * (z @ belief.theta)
    p, yes, no = expit(margins), log_expit(margins), log_expit(-margins)
    losses = -(wins * yes + (1.0 - wins) * no)
    left = losses - losses.mean()
    sums = np.bincount(np.unique(prompts, return_inverse=True)[1], weights=left)
    g = len(sums)
    error = float(np.sqrt(g / (g - 1) * (sums @ sums))) / len(wins) if g > 1 else None
    return {
        "controls": len(wins),
        "predicted": float(-np.mean(p * yes + (1.0 - p) * no)),
        "found": float(losses.mean()),
        "standard_error": error,
    }


def _write(
    space: Workspace,
    done: _Fitted,
    settings: dict[str, Any],
    inputs: dict[str, Any],
    result: dict[str, Any],
) -> Outcome:
    name = space.run.next_number("fits")
    result = {"fit": name, **result}

    def make(folder: Path) -> dict[str, Any]:
        np.save(folder / "theta.npy", done.policy.theta, allow_pickle=False)
        np.save(folder / "belief.npy", as_array(done.belief), allow_pickle=False)
        return result

    space.run.commit(("fits", name), "fit", settings, inputs, make)
    message = (
        f"Fit {name}: {counted(result['labels'], 'label')}, prior × {result['prior_strength']:g}"
    )
    if result["cv_log_loss"] is not None:
        message += (
            f", cross-validated log loss {result['cv_log_loss']:.4f} (on picked pairs: biased)"
        )
    if result["held_out"] is None:
        message += "; on held-out prompts: unknown (pick some with select --controls)."
    else:
        message += f"; held out ({counted(result['held_out_labels'], 'label')}): "
        if result["held_out_accuracy"] is not None:
            message += "accuracy {held_out_accuracy:.3f}, ".format(**result)
        message += "log loss {held_out_log_loss:.4f}, ".format(**result)
        message += "calibration error {held_out_calibration_error:.3f}.".format(**result)
    return Outcome(message, result, False, space.run.root / "fits" / name)
