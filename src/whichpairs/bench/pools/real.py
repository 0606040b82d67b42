"""Real pools with a score for every completion: labels can be simulated, and J is exact on the
pool.

r = s / T,   P(i ≻ j) = σ((s_i − s_j) / T)
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from whichpairs.bench.pools.simulated_pool import World
from whichpairs.design import PairSpace
from whichpairs.errors import UserError
from whichpairs.label.settings import check_temperature
from whichpairs.run.folder import open_run
from whichpairs.workflow.workspace import Workspace


@dataclass(frozen=True)
class RealPool:
    """A pool's arrays, read once; a temperature makes a world of it.

    Args:
        phi: features, (rows, d); starts: (prompts + 1,); score: s, (rows,).
        reference: π_ref's weights, (rows,); held_out: (prompts,), where J is measured.
        beta: the run's β.
    """

    name: str
    phi: np.ndarray
    starts: np.ndarray
    score: np.ndarray
    reference: np.ndarray
    held_out: np.ndarray
    beta: float = 1.0

    def world(self, temperature: float, beta: float | None = None, label: str = "") -> World:
        """The pool at a labeller's temperature T > 0, in units of the score.

        Raises:
            UserError: T is not above 0.
        """
        beta = self.beta if beta is None else beta
        check_temperature(temperature)
        space = PairSpace(self.phi, self.starts, ~self.held_out)
        name = f"{self.name}, T = {temperature:g}" + (f", {label}" if label else "")
        reward = self.score / temperature
        return World(name, space, reward, beta, self.reference, self.held_out)

    def without(self, columns: list[int]) -> "RealPool":
        """The same pool less some feature columns."""
        keep = np.setdiff1d(np.arange(self.phi.shape[1]), columns)
        phi = np.ascontiguousarray(self.phi[:, keep])
        return replace(self, phi=phi)


def real_pool(run: str | Path, score: str, features: str | None = None) -> RealPool:
    """The arrays of a run folder's pool.

    Args:
        score: a numeric column of the pool, or a score made by `whichpairs score`.

    Raises:
        UserError: no such score or features, or no held-out prompts.
    """
    space = Workspace(open_run(Path(run)))  # reads only: another process may be at work
    _, _, phi = space.feature_set(features)
    pool = space.pool
    if not pool.holdout.any():
        raise UserError(
            "regret is measured on held-out prompts",
            f"{run} has none",
            "import with --holdout 0.2",
        )
    return RealPool(
        Path(run).name,
        np.array(phi, dtype=np.float32),
        pool.starts,
        space.score(score),
        pool.weight,
        pool.holdout,
        space.run.beta,
    )
