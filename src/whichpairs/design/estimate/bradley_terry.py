"""The Bradley–Terry fit in feature space: the DPO estimate of a log-linear policy.

    minimise  Σ_i −y_i log σ(η_i) − (1 − y_i) log σ(−η_i) + ½ θᵀ H₀ θ,   η_i = β z_iᵀ θ

(theory (6), (24)). The strength of H₀ is chosen by five-fold log loss over prompts:
a fixed weak ridge is bad for every design at few labels (docs/log.md). A ridge that predicts
well shrinks the policy too much, so θ is then scaled by √(a b): a makes the left-out answers
likeliest (near 1), b the fitted ones (the scale of maximum likelihood). Tuned on random pairs
(docs/log.md).
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit

from whichpairs.design.problem.belief import Belief
from whichpairs.streams import Stream, stream

FOLDS = 5
STRENGTHS = tuple(4.0**k for k in range(-5, 5))
"""Multiples of the default prior that cross-validation chooses from."""
SCALE_LIMIT = float(np.log(4.0))


@dataclass(frozen=True)
class Fit:
    """A fitted parameter.

    Attributes:
        theta: (d,), float64.
        strength: multiple of the prior that was used.
        cv_log_loss: mean log loss a label over left-out prompts, one for every strength tried
            (empty where the strength was given).
        scale: factor by which θ was drawn out again after the ridge had shrunk it.
    """

    theta: np.ndarray
    strength: float
    cv_log_loss: dict[float, float]
    scale: float = 1.0


@dataclass(frozen=True)
class Quality:
    """How well margins predict answers.

    Attributes:
        labels: answers looked at; log_loss: mean, in nats.
        accuracy: share of non-tied answers whose winner has the larger margin (½ for no margin).
        calibration: rows (mean predicted probability, observed share, answers) of up to ten bins.
        calibration_error: mean absolute difference of the two, weighted by answers.
    """

    labels: int
    accuracy: float | None
    log_loss: float
    calibration_error: float
    calibration: list[tuple[float, float, int]]


def fit_theta(
    z: np.ndarray,
    wins: np.ndarray,
    beta: float,
    prior: np.ndarray,
    *,
    start: np.ndarray | None = None,
    tolerance: float = 1e-12,
    steps: int = 100,
) -> np.ndarray:
    """The penalised maximum-likelihood θ, by damped Newton steps with Cholesky solves.

    Args:
        z: feature differences, (n, d); wins: P(first preferred) ∈ [0, 1], ½ for a tie, (n,).
        prior: H₀, positive definite (d, d).
        start: θ to begin at (0 when None); tolerance: on the Newton decrement, relative to the
            loss.
    """
    theta = np.zeros(z.shape[1]) if start is None else start
    loss = _loss(z, wins, beta, prior, theta)
    for _ in range(steps):
        p = expit(beta * (z @ theta))
        gradient = beta * (z.T @ (p - wins)) + prior @ theta
        hessian = beta**2 * (z.T @ (z * (p * (1.0 - p))[:, None])) + prior
        step = cho_solve(cho_factor(hessian, lower=True), gradient)
        decrement = float(gradient @ step)
        if decrement <= tolerance * max(1.0, abs(loss)):
            break
        size = 1.0
        while (after := _loss(z, wins, beta, prior, theta - size * step)) > (
            loss - 0.25 * size * decrement
        ) and size > 1e-8:
            size *= 0.5
        theta, loss = theta - size * step, after
    return theta


def _loss(
    z: np.ndarray, wins: np.ndarray, beta: float, prior: np.ndarray, theta: np.ndarray
) -> float:
    eta = beta * (z @ theta)
    return float(
        -np.sum(wins * log_expit(eta) + (1.0 - wins) * log_expit(-eta))
        + 0.5 * theta @ prior @ theta
    )


def fit(
    z: np.ndarray,
    wins: np.ndarray,
    beta: float,
    prior: np.ndarray,
    prompts: np.ndarray,
    *,
    strength: float | None = None,
    seed: int = 0,
) -> Fit:
    """θ with the prior's strength given, or chosen by cross-validation over prompts.

    Args:
        prompts: the prompt number of every label, (n,): a prompt is in one fold only.
    """
    if strength is None and len(np.unique(prompts)) < FOLDS:
        strength = 1.0  # too few prompts to leave any out
    if strength is not None:
        return Fit(fit_theta(z, wins, beta, strength * prior), strength, {})
    margins = _left_out_margins(z, wins, beta, prior, folds(prompts, seed))
    losses = {s: log_loss(m, wins) for s, m in margins.items()}
    best = min(losses, key=lambda s: (losses[s], abs(np.log(s))))
    theta = fit_theta(z, wins, beta, best * prior)
    scale = float(np.sqrt(best_scale(margins[best], wins) * best_scale(beta * (z @ theta), wins)))
    return Fit(scale * theta, best, losses, scale)


def best_scale(margins: np.ndarray, wins: np.ndarray) -> float:
    """The factor of `margins` (logits) under which the answers are likeliest, within 1/4 and 4."""
    found = minimize_scalar(
        lambda log_c: log_loss(np.exp(log_c) * margins, wins),
        bounds=(-SCALE_LIMIT, SCALE_LIMIT),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))


def log_loss(margins: np.ndarray, wins: np.ndarray) -> float:
    """Mean −log-likelihood of the answers, nats."""
    return float(-np.mean(wins * log_expit(margins) + (1.0 - wins) * log_expit(-margins)))


def folds(prompts: np.ndarray, seed: int) -> np.ndarray:
    """A fold, 0 to `FOLDS` − 1, for every label: a prompt is in one fold only."""
    unique, owner = np.unique(prompts, return_inverse=True)
    order = stream(seed, Stream.FOLDS).permutation(len(unique))
    return np.asarray(order[owner] % FOLDS)


def _left_out_margins(
    z: np.ndarray, wins: np.ndarray, beta: float, prior: np.ndarray, fold: np.ndarray
) -> dict[float, np.ndarray]:
    """β zᵀθ of every label, θ fitted without its fold, for every strength; from strong to weak,
    each fit begins at the one before."""
    margins = {strength: np.zeros(len(z)) for strength in STRENGTHS}
    for k in range(FOLDS):
        out = fold == k
        if not out.any():
            continue
        inside, answers, theta = z[~out], wins[~out], np.zeros(z.shape[1])
        for strength in reversed(STRENGTHS):
            theta = fit_theta(inside, answers, beta, strength * prior, start=theta, tolerance=1e-7)
            margins[strength][out] = beta * (z[out] @ theta)
    return margins


def posterior(fitted: Fit, z: np.ndarray, beta: float, prior: np.ndarray) -> Belief:
    """The Laplace approximation: θ ~ N(θ̂, H⁻¹), H = s H₀ + Σ β² σ′(β zᵀθ̂) z zᵀ."""
    p = expit(beta * (z @ fitted.theta))
    h = fitted.strength * prior + beta**2 * (z.T @ (z * (p * (1.0 - p))[:, None]))
    return Belief(fitted.theta, h)


def quality(margins: np.ndarray, wins: np.ndarray, bins: int = 10) -> Quality:
    """Accuracy, log loss and calibration of P(first preferred) = σ(margin)."""
    p = expit(margins)
    loss = log_loss(margins, wins)
    decided = wins != 0.5
    right = np.where(margins == 0.0, 0.5, (margins > 0) == (wins > 0.5))
    at = np.minimum((p * bins).astype(int), bins - 1)
    table = [
        (float(p[at == b].mean()), float(wins[at == b].mean()), int((at == b).sum()))
        for b in range(bins)
        if (at == b).any()
    ]
    error = sum(abs(mean - share) * count for mean, share, count in table) / len(wins)
    accuracy = float(right[decided].mean()) if decided.any() else None
    return Quality(len(wins), accuracy, loss, float(error), table)
