"""How far each annotator's answers follow the margins: slopes, with ties, strengths and biases.

    P(A) = σ(x − t),  P(B) = σ(−x − t),  P(tie) the rest,   x = s_k η + b_k,   η = β zᵀθ

after Rao and Kupper (1967), t = t_k > 0 of the annotator: a slope s_k of 1 is the Bradley–Terry
model, 0 a coin, below 0 somebody who answers the wrong way round. A strength j of 1 to 4 cuts P(A)
further, at thresholds t = t_1 < … < t_4 that lie at distances common to all: an ordered logit, of
which ties alone are the case without strengths. θ, slopes, biases and thresholds are estimated
together, as the mode of

    θ ~ N(0, H₀⁻¹),  s_k ~ N(1, 1),  b_k ~ N(0, ½²),  log t_k ~ N(log ½, 1),
    log distances ~ N(0, 1),

whose mean slope of 1 says who is right where annotators contradict each other: the greater part.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.special import expit, log_expit

STRENGTHS = 4
SLOPE_SPREAD, BIAS_SPREAD = 1.0, 0.5
TIE, LOG_SPREAD = 0.5, 1.0
"""A usual t_k, and how far its logarithm, and those of the distances, lie about."""
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Said:
    """Answers, one a row.

    Attributes:
        z: feature differences of A and B as shown, (n, d); who: of each, 0 to the number of
            annotators − 1, (n,).
        side: 1 for A, −1 for B, 0 for a tie, (n,); strength: 1 to `STRENGTHS`, 0 where none was
            stated, (n,).
    """

    z: np.ndarray
    who: np.ndarray
    side: np.ndarray
    strength: np.ndarray

    @property
    def people(self) -> int:
        """How many annotators."""
        return int(self.who.max()) + 1 if len(self.who) else 0


@dataclass(frozen=True)
class Annotators:
    """What was estimated.

    Attributes:
        theta: (d,), in units of the slopes' mean; slopes, slope_errors, biases, ties: one an
            annotator
            (`slope_errors`: standard errors, θ's own uncertainty included; `ties`: t_k).
        steps: distances between t_1, t_2, … t_4, (3,).
        loss: −log posterior, up to a constant.
    """

    theta: np.ndarray
    slopes: np.ndarray
    slope_errors: np.ndarray
    biases: np.ndarray
    ties: np.ndarray
    steps: np.ndarray
    loss: float

    def intervals(self) -> np.ndarray:
        """Of the slopes, 95 %, (annotators, 2)."""
        half = Z95 * self.slope_errors
        return np.stack([self.slopes - half, self.slopes + half], axis=1)

    def kinds(self) -> list[str]:
        """Of each annotator: ``follows``, ``contrary``, or ``chance`` (0 is within)."""
        return [
            "follows" if low > 0 else "contrary" if high < 0 else "chance"
            for low, high in self.intervals().tolist()
        ]


def fit_annotators(said: Said, beta: float, prior: np.ndarray) -> Annotators:
    """Estimate θ and the annotators together.

    Args:
        beta: β; prior: H₀, positive definite, (d, d).
    """
    d, k = said.z.shape[1], said.people
    start = np.concatenate(
        [np.zeros(d), np.ones(k), np.zeros(k), np.full(k, np.log(TIE)), np.zeros(3)]
    )
    found = minimize(
        lambda p: loss_and_gradient(p, said, beta, prior),
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-13, "gtol": 1e-7, "maxcor": 30},
    )
    theta, slopes, biases, ties, steps = _parts(found.x, d, k)
    errors = _slope_errors(found.x, said, beta, prior)
    return Annotators(theta, slopes, errors, biases, np.exp(ties), np.exp(steps), float(found.fun))


def _parts(p: np.ndarray, d: int, k: int) -> tuple[np.ndarray, ...]:
    return tuple(np.split(p, [d, d + k, d + 2 * k, d + 3 * k]))


def _bounds(
    said: Said, ties: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The interval of x + noise that each answer says, and all thresholds, (k, 4).

    For B the interval is that of −x: a model without a bias knows no sides.
    """
    cuts = np.exp(ties)[:, None] + np.concatenate([[0.0], np.cumsum(np.exp(steps))])[None, :]
    mine = cuts[said.who]
    j = np.maximum(said.strength, 1) - 1
    low = np.where(said.side == 0, -mine[:, 0], mine[np.arange(len(j)), j])
    next_ = np.concatenate([mine, np.full((len(j), 1), np.inf)], axis=1)[np.arange(len(j)), j + 1]
    high = np.where(said.side == 0, mine[:, 0], np.where(said.strength == 0, np.inf, next_))
    return low, high, cuts


def loss_and_gradient(
    p: np.ndarray, said: Said, beta: float, prior: np.ndarray
) -> tuple[float, np.ndarray]:
    """−log posterior and its gradient in (θ, s, b, log t, log distances)."""
    d, k = said.z.shape[1], said.people
    theta, slopes, biases, ties, steps = _parts(p, d, k)
    eta = beta * (said.z @ theta)
    sign = np.where(said.side < 0, -1.0, 1.0)
    x = sign * (slopes[said.who] * eta + biases[said.who])
    low, high, _ = _bounds(said, ties, steps)
    u, v = high - x, low - x
    fu, fl = expit(u), expit(v)
    with np.errstate(over="ignore"):
        gap = 1.0 / np.expm1(u - v)  # 0 where there is no upper end
    log_p = log_expit(u) + log_expit(-v) + np.log1p(-np.exp(-(u - v)))
    by_x, by_high, by_low = fu + fl - 1.0, (1.0 - fu) + gap, -fl - gap
    by_mine = sign * by_x
    by_theta = beta * (said.z.T @ (by_mine * slopes[said.who]))
    by_slopes = np.bincount(said.who, by_mine * eta, k)
    by_biases = np.bincount(said.who, by_mine, k)
    by_ties, by_steps = _by_cuts(said, by_low, by_high, ties, steps, k)
    prior_theta = prior @ theta
    loss = -float(log_p.sum()) + 0.5 * float(
        theta @ prior_theta
        + np.sum((slopes - 1.0) ** 2) / SLOPE_SPREAD**2
        + np.sum(biases**2) / BIAS_SPREAD**2
        + np.sum((ties - np.log(TIE)) ** 2) / LOG_SPREAD**2
        + np.sum(steps**2) / LOG_SPREAD**2
    )
    gradient = np.concatenate(
        [
            prior_theta - by_theta,
            (slopes - 1.0) / SLOPE_SPREAD**2 - by_slopes,
            biases / BIAS_SPREAD**2 - by_biases,
            (ties - np.log(TIE)) / LOG_SPREAD**2 - by_ties,
            steps / LOG_SPREAD**2 - by_steps,
        ]
    )
    return loss, gradient


def _by_cuts(
    said: Said,
    by_low: np.ndarray,
    by_high: np.ndarray,
    ties: np.ndarray,
    steps: np.ndarray,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The log-likelihood's derivatives in log t_k and in the log distances."""
    tie = said.side == 0
    bounded = tie | ((said.strength > 0) & (said.strength < STRENGTHS))
    high = np.where(bounded, by_high, 0.0)
    low = np.where(tie, -by_low, by_low)  # a tie's lower end is −t
    by_ties = np.bincount(said.who, low + high, k) * np.exp(ties)
    at = np.maximum(said.strength, 1) - 1  # the low end's cut; a tie's is the first
    by_steps = np.zeros(STRENGTHS - 1)
    for j in range(STRENGTHS - 1):  # cut m holds the distances before it
        by_steps[j] = by_low[~tie & (at > j)].sum() + high[~tie & (at + 1 > j)].sum()
    return by_ties, by_steps * np.exp(steps)


def curvature(p: np.ndarray, said: Said, beta: float) -> np.ndarray:
    """−d² log P / dx² of every answer at the estimate, (n,): what it tells of x."""
    d, k = said.z.shape[1], said.people
    theta, slopes, biases, ties, steps = _parts(p, d, k)
    sign = np.where(said.side < 0, -1.0, 1.0)
    x = sign * (slopes[said.who] * beta * (said.z @ theta) + biases[said.who])
    low, high, _ = _bounds(said, ties, steps)
    fu, fl = expit(high - x), expit(low - x)
    return np.asarray(fu * (1.0 - fu) + fl * (1.0 - fl))


def _slope_errors(p: np.ndarray, said: Said, beta: float, prior: np.ndarray) -> np.ndarray:
    """Standard errors of the slopes, thresholds held (Gauss–Newton in (θ, s, b))."""
    d, k = said.z.shape[1], said.people
    theta, slopes, *_ = _parts(p, d, k)
    w, n = curvature(p, said, beta), len(said.who)
    jacobian = np.zeros((n, d + 2 * k))
    jacobian[:, :d] = beta * slopes[said.who][:, None] * said.z
    jacobian[np.arange(n), d + said.who] = beta * (said.z @ theta)
    jacobian[np.arange(n), d + k + said.who] = 1.0
    h = jacobian.T @ (w[:, None] * jacobian)
    h[:d, :d] += prior
    h[np.arange(d, d + k), np.arange(d, d + k)] += 1.0 / SLOPE_SPREAD**2
    h[np.arange(d + k, d + 2 * k), np.arange(d + k, d + 2 * k)] += 1.0 / BIAS_SPREAD**2
    columns = np.zeros((d + 2 * k, k))
    columns[d + np.arange(k), np.arange(k)] = 1.0
    solved = cho_solve(cho_factor(h, lower=True), columns)
    return np.sqrt(np.diag(solved[d : d + k]))
