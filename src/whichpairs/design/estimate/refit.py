"""What `whichpairs.design.estimate.bradley_terry.fit` would make of labels that are only imagined:
the same, at a fraction of the cost.

A forecast refits thousands of times, so the five-fold search for the ridge is replaced by one
leave-one-out search in the quadratic model of the likelihood at a pilot estimate: with H = V Λ Vᵀ
its Hessian, every strength s has θ_s = V (Λ + s)⁻¹ Vᵀ b, and a label's left-out margin is m − h (r
− w m) ÷ (1 − w h) with leverage h = xᵀ (Λ + s)⁻¹ x ([pregibon1981]: one-step approximation of
logistic leave-one-out). It is made anew where that leads. The chosen strength's θ is exact, and
scaled as `fit` scales. `make bench-forecast` shows how well gaps predicted that way hold.
"""

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.special import expit

from whichpairs.design.estimate.bradley_terry import STRENGTHS, best_scale, fit_theta

PILOT = 1.0
"""Strength of the ridge at the pilot estimate."""

PASSES = 2
"""The quadratic model is made anew at the first choice: far from it, at strong margins, it errs."""

LEAST_LEFT = 1e-3
"""1 − w h is kept above this: a label that alone decides a direction has no left-out margin."""

QUICK = 1e-6
"""Newton steps end below this decrement, relative to the loss: a forecast needs three digits."""


def refit(
    x: Float[np.ndarray, "n d"],
    wins: Float[np.ndarray, " n"],
    start: Float[np.ndarray, " d"],
    *,
    choose: bool,
    steps: int = 100,
) -> Float[np.ndarray, " d"]:
    """The default estimate, in coordinates in which H₀ is the identity.

    Args:
        x: β z in these coordinates; wins: 1, 0, or a share between them; start: where Newton
            begins.
        choose: whether the ridge is chosen from the labels (`fit` needs a few prompts for that);
            else its strength is 1.
        steps: Newton steps at most; one is the linear approximation at `start`.
    """
    one = np.eye(x.shape[1])
    theta = fit_theta(x, wins, 1.0, PILOT * one, start=start, tolerance=QUICK, steps=steps)
    if not choose:
        return theta
    for _ in range(PASSES):
        left = left_out_margins(x, wins, theta)
        losses = np.mean(np.logaddexp(0.0, left) - wins[:, None] * left, axis=0)
        best = int(np.argmin(losses))
        ridge = STRENGTHS[best] * one
        theta = fit_theta(x, wins, 1.0, ridge, start=theta, tolerance=QUICK, steps=steps)
    scale = np.sqrt(best_scale(left[:, best], wins) * best_scale(x @ theta, wins))
    return np.asarray(scale * theta)


def left_out_margins(
    x: Float[np.ndarray, "n d"], wins: Float[np.ndarray, " n"], pilot: Float[np.ndarray, " d"]
) -> Float[np.ndarray, "n strengths"]:
    """About the margin of every label under a fit without it, for every one of `STRENGTHS`."""
    eta = x @ pilot
    p = expit(eta)
    w = p * (1.0 - p)
    r = w * eta + (wins - p)
    scales, v = eigh(x.T @ (x * w[:, None]))
    spread = np.maximum(scales, 0.0)[:, None] + np.array(STRENGTHS)  # (d, strengths)
    turned = x @ v
    margins = turned @ ((v.T @ (x.T @ r))[:, None] / spread)
    leverage = turned**2 @ (1.0 / spread)
    apart = r[:, None] - w[:, None] * margins
    return np.asarray(
        margins - leverage * apart / np.maximum(1.0 - w[:, None] * leverage, LEAST_LEFT)
    )
