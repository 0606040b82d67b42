"""What stage select is told."""

from dataclasses import dataclass, field
from typing import Annotated

from whichpairs.defaults import PRIOR_MARGIN_SPREAD
from whichpairs.errors import UserError
from whichpairs.setting import SEED, Setting
from whichpairs.workflow.select.limit_settings import LimitSettings

NEEDS = {"c-optimal": "a direction, (d,)", "i-optimal": "a moment E[φ φᵀ], (d, d)"}
"""Criteria that are made from a file, and what it holds."""

OPTIMALITIES = ("d-optimal", "a-optimal", *NEEDS)
"""Criteria that are certified by themselves: their bound is none on the gap."""

CRITERIA = (
    "adaptive",
    "signal",
    "gap",
    "paper",
    "random",
    "uniform-prompts",
    "reference",
    *OPTIMALITIES,
    "best-vs-worst",
)


@dataclass(frozen=True)
class SelectSettings:
    """What the user chose.

    Args:
        budget: labels to pick for training, at least 1; where `limits` give pairs a cost, what they
            may cost together, in its unit.
        criterion: one of `CRITERIA`; adaptive looks at the labels so far and is wary of a wrong
            model (`design.strategies.adaptive`); gap is the best batch, certified, by the paper's
            plug-in criterion; paper draws a batch as the paper did, by its relaxed design at a
            policy fitted to log π_ref (`design.strategies.paper` says how they differ); signal, for
            a language model that DPO will train from the reference (`design.strategies.strongest`),
            wants some labels first and picks at random without; d-, a-, c- and i-optimal are those
            of `design.problem.criterion`.
        features: name of the feature set; None is the latest.
        score: for best-vs-worst, the column it goes by; None is the latest fit.
        matrix: for c-optimal and i-optimal, the .npy of the direction, (d,), or moment, (d, d).
        ridge: for paper, its λ > 0; None is 10⁻³, the paper's.
        controls: random pairs of held-out prompts to label beside the budget, never fitted, which
            judge the fit; None is a tenth of the batch's labels, as far as there are such pairs.
        prior_spread: τ, the prior standard deviation of a random pair's margin, in logits.
        seed: None is the run's.
        passes, tolerance, threads: see `FrankWolfe`; threads do not change the batch.
        kernel: one of `KERNELS`; None is the faster that is there. It does not change the batch.
        limits: what else the batch must obey.
    """

    budget: Annotated[
        int | float,
        Setting("Labels to pick; minutes or money with --reading or --cost-column.", kind=float),
    ]
    criterion: Annotated[
        str,
        Setting(
            "adaptive, signal (for DPO), gap (the best batch by the paper's criterion), paper "
            "(drawn "
            "as in the paper), random, uniform-prompts, reference, d-optimal, a-optimal, "
            "c-optimal, "
            "i-optimal or best-vs-worst; or your own, FILE.py:NAME (docs/extending.md)."
        ),
    ] = "adaptive"
    features: Annotated[str | None, Setting("Feature set; else the latest.")] = None
    score: Annotated[str | None, Setting("For best-vs-worst: a score; else the latest fit.")] = None
    matrix: Annotated[
        str | None,
        Setting(
            "For c-optimal a direction, (d,); for i-optimal a moment, (d, d): a .npy in the "
            "features' coordinates."
        ),
    ] = None
    ridge: Annotated[float | None, Setting("For paper: its λ; else 0.001, the paper's.")] = None
    controls: Annotated[
        int | None,
        Setting(
            "Random pairs of held-out prompts beside the budget, never fitted, which judge the "
            "fit; "
            "else a tenth of the batch's labels."
        ),
    ] = None
    prior_spread: Annotated[float, Setting("Prior spread of a random pair's margin, logits.")] = (
        PRIOR_MARGIN_SPREAD
    )
    seed: Annotated[int | None, SEED] = None
    passes: Annotated[int, Setting("Passes over all pairs, at most.")] = 15
    tolerance: Annotated[float, Setting("Certificate to stop at.")] = 1e-3
    threads: Annotated[int, Setting("Workers; the batch does not depend on it.")] = 1
    kernel: Annotated[
        str | None, Setting("numpy, torch or tiles; else the fastest. The batch is the same.")
    ] = None
    limits: Annotated[LimitSettings, Setting(after="prior_spread")] = field(
        default_factory=LimitSettings
    )

    def __post_init__(self) -> None:
        from whichpairs.engine.kernels.choose import KERNELS

        if self.criterion not in CRITERIA:
            raise UserError(
                f"criterion must be one of {', '.join(CRITERIA)}", f"got {self.criterion!r}"
            )
        check_named(self.criterion, self.matrix)
        check_ridge(self.criterion, self.ridge)
        if not 0.0 < self.prior_spread < float("inf"):
            raise UserError(
                "prior spread must be a finite number of logits above 0", f"got {self.prior_spread}"
            )
        if self.kernel not in (None, *KERNELS):
            raise UserError(f"kernel must be one of {', '.join(KERNELS)}", f"got {self.kernel!r}")
        if not 0.0 <= self.tolerance <= 1.0:
            raise UserError("tolerance must be a share from 0 to 1", f"got {self.tolerance}")
        self._check_budget()
        for name in ("controls", "passes", "threads"):
            least = 0 if name == "controls" else 1
            value = getattr(self, name)
            if value is None and name == "controls":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(
                    f"{name} must be a whole number of at least {least}", f"got {value}"
                )

    def _check_budget(self) -> None:
        import numpy as np

        number, unit = self.budget, self.limits.unit
        real = isinstance(number, int | float) and not isinstance(number, bool)
        if unit != "labels":
            if not real or not 0.0 < number < np.inf:
                raise UserError(f"budget must be a finite number above 0 ({unit})", f"got {number}")
        elif not real or not 1 <= number < np.inf or number != int(number):
            raise UserError(
                "budget must be a whole number of at least 1",
                f"got {number:g}" if real else f"got {number!r}",
                "--budget is in labels unless --reading or --cost-column gives pairs a cost",
            )
        else:
            object.__setattr__(self, "budget", int(number))


def check_named(criterion: str, matrix: str | None) -> None:
    """A matrix is given where the criterion is made from one, and only there.

    Raises:
        UserError: it is missing, or the criterion takes none.
    """
    if matrix is None and criterion in NEEDS:
        raise UserError(
            f"{criterion} is made from {NEEDS[criterion]}",
            "got none",
            "save it with numpy.save and pass --matrix FILE.npy to whichpairs select",
        )
    if matrix is not None and criterion not in NEEDS:
        raise UserError(
            f"--matrix is for the criteria {' and '.join(NEEDS)}",
            f"got it with {criterion}",
            "leave it out",
        )


def check_ridge(criterion: str, ridge: float | None) -> None:
    """λ is a number above 0, given where the criterion has one.

    Raises:
        UserError: it is not.
    """
    if ridge is None:
        return
    if criterion != "paper":
        raise UserError(
            "--ridge is for the criterion paper", f"got it with {criterion}", "leave it out"
        )
    if not 0.0 < ridge < float("inf"):
        raise UserError("ridge must be a finite number above 0", f"got {ridge}")
