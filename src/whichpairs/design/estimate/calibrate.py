"""Probabilities that mean what they say: of a fit's margins, for whoever reads, teaches or exports
them.

The fit's own θ is drawn out so that the policy is good (`design.estimate.bradley_terry`), and as a
probability it is too sure: where the labels carry little it is worse than a coin. What is believed
of an answer is another thing,

    P(first preferred) = E σ(η),   η = β zᵀθ ~ N(m, v)  by the posterior,   = σ(m / √(1 + π v/8))

[mackay1992] (theory (25)), with the posterior of every
prior strength by its evidence: no strength is chosen, and where the labels carry nothing strong
priors win and P is ½. Each posterior is Laplace's, its mean moved from the mode to where the third
derivative of the loss puts it [lindley1980; tierney1986]: unmoved, Laplace is known to be timid.
Losers and numbers are in docs/log.md, the table in docs/results/calibration.md.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.special import expit, log_expit

from whichpairs.design.estimate.bradley_terry import FOLDS, fit_theta, folds, log_loss

CALIBRATED_STRENGTHS = tuple(4.0**k for k in range(-5, 8))
"""Multiples of the default prior that are averaged over, evenly before the labels: a random pair's
margin has a prior spread from 48 logits down to 0.01."""


@dataclass(frozen=True)
class Calibration:
    """What is believed of θ once the strength of the prior is averaged out, as one normal
    distribution.

    Attributes:
        theta: its mean, (d,); root: R with covariance R Rᵀ, (d, d), lower triangular.
        strength: geometric mean of the strengths by their evidence.
    """

    theta: Float[np.ndarray, " d"]
    root: Float[np.ndarray, "d d"]
    strength: float

    def logits(self, z: Float[np.ndarray, "n d"], beta: float) -> Float[np.ndarray, " n"]:
        """log P/(1 − P) of pairs with feature differences `z`: see `calibrated_probability`."""
        mean = beta * (z @ self.theta)
        spread = beta * (z @ self.root)
        return np.asarray(mean / np.sqrt(1.0 + (np.pi / 8.0) * np.sum(spread**2, axis=1)))


def calibrated_probability(
    belief: Calibration, z: Float[np.ndarray, "n d"], beta: float
) -> Float[np.ndarray, " n"]:
    """P(first preferred), strictly between 0 and 1, of pairs that nobody has answered.

    Args:
        belief: of `calibrate`, or `Workspace.calibration` of a fit on disk.
        z: φ of the first less φ of the second completion, in the fit's features; beta: the run's β.
    """
    return np.asarray(expit(belief.logits(z, beta)))


def as_array(belief: Calibration) -> Float[np.ndarray, "rows d"]:
    """One array to keep it in: θ's mean, the rows of R, and the strength."""
    strength = np.full((1, len(belief.theta)), belief.strength)
    return np.concatenate([belief.theta[None, :], belief.root, strength])


def from_array(kept: Float[np.ndarray, "rows d"]) -> Calibration:
    """What `as_array` kept."""
    return Calibration(kept[0], kept[1:-1], float(kept[-1, 0]))


def calibrate(
    z: Float[np.ndarray, "n d"],
    wins: Float[np.ndarray, " n"],
    beta: float,
    prior: Float[np.ndarray, "d d"],
    *,
    strength: float | None = None,
) -> Calibration:
    """What the answers say of θ, whatever the strength of the prior.

    Args:
        z: feature differences; wins: P(first preferred) ∈ [0, 1], ½ for a tie; at least one label.
        prior: H₀, positive definite.
        strength: the multiple of H₀, where it is known; None averages over `CALIBRATED_STRENGTHS`.
    """
    tried = CALIBRATED_STRENGTHS if strength is None else (strength,)
    dim = z.shape[1]
    thetas, covariances, evidence = [], [], []
    theta, whole = np.zeros(dim), float(np.linalg.slogdet(prior)[1])
    for multiple in reversed(tried):
        h0 = multiple * prior
        theta = fit_theta(z, wins, beta, h0, start=theta, tolerance=1e-7)
        eta = beta * (z @ theta)
        p = expit(eta)
        h = h0 + beta**2 * (z.T @ (z * (p * (1.0 - p))[:, None]))
        factor = cho_factor(h, lower=True)
        half = solve_triangular(np.tril(factor[0]), beta * z.T, lower=True)
        v = np.sum(half**2, axis=0)
        # σ″ = p (1 − p)(1 − 2p): the mean lies H⁻¹ Σ β z σ″ v / 2 further out than the mode.
        out = cho_solve(factor, beta * (z.T @ (p * (1.0 - p) * (1.0 - 2.0 * p) * v)))
        thetas.append(theta - 0.5 * out)
        covariances.append(cho_solve(factor, np.eye(dim)))
        fits = float(np.sum(wins * log_expit(eta) + (1.0 - wins) * log_expit(-eta)))
        volume = dim * np.log(multiple) + whole - 2.0 * np.sum(np.log(np.diag(factor[0])))
        evidence.append(fits - 0.5 * float(theta @ h0 @ theta) + 0.5 * float(volume))
    share = np.exp(np.array(evidence) - max(evidence))
    share /= share.sum()
    mean = share @ np.array(thetas)
    apart = np.array(thetas) - mean
    covariance = np.tensordot(share, covariances, axes=1) + (apart.T * share) @ apart
    logs = share @ np.log(tried[::-1])
    return Calibration(mean, np.linalg.cholesky(covariance), float(np.exp(logs)))


def left_out_log_loss(
    z: Float[np.ndarray, "n d"],
    wins: Float[np.ndarray, " n"],
    beta: float,
    prior: Float[np.ndarray, "d d"],
    prompts: np.ndarray,
    *,
    strength: float | None = None,
    seed: int = 0,
) -> float | None:
    """Mean log loss, nats, of `calibrate`d probabilities of labels whose prompts it did not see.

    Nothing is chosen by it, so nothing flatters it. None with fewer prompts than folds.
    """
    if len(np.unique(prompts)) < FOLDS:
        return None
    fold, logits = folds(prompts, seed), np.zeros(len(z))
    for k in range(FOLDS):
        out = fold == k
        if out.any():
            belief = calibrate(z[~out], wins[~out], beta, prior, strength=strength)
            logits[out] = belief.logits(z[out], beta)
    return log_loss(logits, wins)
