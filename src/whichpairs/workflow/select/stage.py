"""Stage select: the batch to label next, its certificate, and what random would need instead."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from whichpairs.defaults import PRIOR_MARGIN_SPREAD
from whichpairs.design import (
    Belief,
    Linear,
    PairSpace,
    PairWeights,
    PassReport,
    Solution,
    gap_criterion,
    information,
    policy_information,
    prior,
)
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.estimate.bradley_terry import fit
from whichpairs.design.forecast.predicted_gap import Forecast, Known
from whichpairs.design.problem.limits import Limits, check
from whichpairs.design.strategies.adaptive import Evidence, View, look
from whichpairs.errors import UserError
from whichpairs.run.folder import versions
from whichpairs.run.once import Outcome, find, said
from whichpairs.streams import Stream, stream
from whichpairs.wording import counted
from whichpairs.workflow.drawer import check_repeats, no_candidates, not_in_drawer
from whichpairs.workflow.schedule import CONTROLS_SHARE, share_of
from whichpairs.workflow.select.batch import batch_message, batch_rows, finite
from whichpairs.workflow.select.checkpoint import Resume, digest
from whichpairs.workflow.select.criteria import choose
from whichpairs.workflow.select.criterion_file import Target
from whichpairs.workflow.select.limits import Spent
from whichpairs.workflow.select.pairs_file import NamedPairs
from whichpairs.workflow.select.paper import reference_print
from whichpairs.workflow.select.random_reach import chance
from whichpairs.workflow.select.settings import OPTIMALITIES, SelectSettings
from whichpairs.workflow.workspace import Workspace, workspace

LEARNING = ("adaptive", "signal")
"""Those whose belief is that of the labels so far."""


def select(
    run: str | Path,
    settings: SelectSettings,
    *,
    another: bool = False,
    beta: float | None = None,
    watch: Callable[[PassReport], None] = lambda report: None,
) -> Outcome:
    """Pick a batch of pairs and write it to the run.

    Args:
        another: pick one more batch, although pairs of earlier ones still wait for their labels.
        watch: told of every pass.

    Raises:
        UserError: the budget does not fit the candidates, no features, pairs still waiting …
    """
    with workspace(run, beta) as space:
        desk = Desk(space, settings)
        chosen, inputs = desk.recorded()
        before = find(space.run, "batches", "select", chosen, inputs)
        if before is not None and not another:
            name, record = before
            Resume(space.run.root, "").clear()  # where a kill came just after that batch
            message = f"Batch {name} was picked with these settings; nothing changed."
            return Outcome(message, record.result, True, space.run.root / "batches" / name)
        _check_waiting(space, chosen, another)
        return desk.pick(watch)


def _check_waiting(space: Workspace, chosen: dict[str, Any], another: bool) -> None:
    waiting = len(space.pending())
    if not waiting or another:
        return
    name = max(space.batches)
    record = space.run.record("batches", name)
    old = record.settings if record else {}
    changed = [
        f"{k} was {said(old.get(k))}, now {said(v)}" for k, v in chosen.items() if old.get(k) != v
    ]
    raise UserError(
        "picked pairs are labelled before the next are picked",
        f"{counted(waiting, 'pair waits', 'pairs wait')} (batch {name}"
        + (f"; {', '.join(changed)}" if changed else "")
        + ")",
        "Label them, or pass --another to pick more beside them (none is lost)",
    )


class Desk:
    """One selection: the problem, its answer, and the files."""

    def __init__(self, space: Workspace, settings: SelectSettings) -> None:
        self.space, self.settings = space, settings
        self.name, self.record, self.phi = space.feature_set(settings.features)
        self.seed = space.run.seed if settings.seed is None else settings.seed
        self.beta = space.run.beta

    def recorded(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Settings and inputs, as the manifest keeps them."""
        s = self.settings
        names = ("budget", "criterion", "score", "controls", "prior_spread", "passes", "tolerance")
        chosen = {name: getattr(s, name) for name in names}
        chosen |= {"features": self.name, "seed": self.seed, "beta": self.beta}
        more = {"matrix": s.matrix, "ridge": s.ridge}
        chosen |= {name: value for name, value in more.items() if value is not None}
        chosen |= s.limits.recorded()
        inputs = {
            "pool": self.space.pool.fingerprint,
            "features": self.record.result["fingerprint"],
            "labels": self.space.labels_fingerprint,
            **(self.target.inputs if self.target else {}),
            **s.limits.inputs,
        }
        if s.criterion == "paper":
            inputs |= reference_print(self.space.pool)
        if s.criterion == "best-vs-worst" and s.score is None:
            inputs["fit"] = max(self.space.run.finished("fits"), default=None)
        elif s.criterion == "best-vs-worst":
            inputs["score"] = self.space.score_print(str(s.score))
        return chosen, inputs

    @cached_property
    def target(self) -> Target | None:
        """The optimality that the user named; None for the gap, and for those that solve
        nothing."""
        s = self.settings
        if s.criterion not in OPTIMALITIES:
            return None
        return Target(s.criterion, self.phi.shape[1], s.matrix)

    @cached_property
    def pairs(self) -> PairSpace:
        """Candidates: pairs of prompts that are not held out, not yet picked or labelled, nor
        barred, and that the run's drawer, if it has one, has an answer to."""
        return self._pairs(~self.space.pool.holdout)

    def _pairs(self, eligible: np.ndarray) -> PairSpace:
        rows = [sorted(self.space.pool.rows(v[1:])) for v in self.space.known_pairs.values()]
        known = np.array(rows, dtype=np.int64).reshape(-1, 2)
        blank = PairSpace(self.phi, self.space.pool.starts, eligible)
        barred = [known, self.named.must_not, self.space.unanswerable]
        return blank.without(np.concatenate(barred))

    @cached_property
    def named(self) -> NamedPairs:
        """The pairs that must, and must not, be picked."""
        return self.settings.limits.named(self.space.pool, self.space.known_pairs)

    @cached_property
    def limits(self) -> Limits:
        """What the batch must obey."""
        return self.settings.limits.limits(self.space.pool, self.named.must)

    @cached_property
    def evidence(self) -> Evidence:
        """The labels of prompts that are not held out, their fit, and pairs that wait."""
        votes = self.space.votes(held_out=False)
        known, missing = self.space.known_pairs, self.space.waiting()
        waiting = [self.space.pool.rows(known[k][1:]) for k, n in missing.items() for _ in range(n)]
        pending = np.array(waiting, dtype=np.int64).reshape(-1, 2)
        pending = pending[~self.space.pool.holdout[self.space.pool.prompt_of[pending[:, 0]]]]
        if len(votes.wins) == 0:
            return replace(Evidence.none(self.pairs.dim), pending=pending)
        z = self.pairs.differences(votes.pairs)
        fitted = fit(z, votes.wins, self.beta, self.prior, votes.prompts, seed=self.seed)
        return Evidence(votes.pairs, votes.wins, votes.prompts, fitted, pending)

    @cached_property
    def prior(self) -> np.ndarray:
        """H₀."""
        return prior(self.pairs, self.beta, self.settings.prior_spread)

    @cached_property
    def forecast(self) -> Forecast:
        """Predicted gaps by all that is known now, whatever criterion picks."""
        known, default = self.evidence, PRIOR_MARGIN_SPREAD
        h0, theta = prior(self.pairs, self.beta, default), known.fit.theta
        if self.settings.prior_spread != default and len(known.wins):
            z = self.pairs.differences(known.pairs)
            theta = fit(z, known.wins, self.beta, h0, known.prompts, seed=self.seed).theta
        labels = Known(known.pairs, known.wins, theta, known.pending)
        weight = self.space.pool.weight
        return Forecast(self.pairs, self.beta, weight, self.prior, h0, labels, seed=self.seed)

    @cached_property
    def view(self) -> View:
        """What is believed: from the labels for adaptive, else the plug-in θ = 0
        (theory, section 5)."""
        if self.settings.criterion in LEARNING:
            return look(
                self.pairs,
                self.beta,
                self.prior,
                self.space.pool.weight,
                self.evidence,
                seed=self.seed,
                least=1
                if self.settings.criterion == "signal" and self.evidence.convincing
                else None,
            )
        belief = Belief(np.zeros(self.pairs.dim))
        weights = belief.weights(self.beta)
        known = information(self.pairs, self.evidence.known, weights)
        gap = gap_criterion(policy_information(self.pairs, self.space.pool.weight))
        return View(belief, self.prior + known, gap, len(self.evidence.known))

    @cached_property
    def weights(self) -> PairWeights:
        """What each pair's label teaches by the belief."""
        return self.view.belief.weights(self.beta)

    @property
    def gap(self) -> Linear:
        """The gap criterion at the belief."""
        return self.view.gap

    @property
    def base(self) -> np.ndarray:
        """H₀ and the information of the pairs already asked."""
        return self.view.base

    def pick(self, watch: Callable[[PassReport], None]) -> Outcome:
        """Choose, predict, write."""
        started = time.perf_counter()
        s, limits, resume = self.settings, self.limits, self._resume()
        if self.pairs.candidates == 0:
            raise no_candidates(self.space, "a batch")
        check_repeats(self.space, s.limits.repeats)
        check(self.pairs, s.budget, limits)
        s.limits.check_affordable(self.pairs, s.budget, limits)
        self._check_controls()
        chosen = choose(self, watch, resume)
        picked, solution = chosen.pairs, chosen.solution
        controls = self._controls(len(picked))
        criterion = self.target.criterion if self.target else self.gap
        value = criterion.value(self.base + information(self.pairs, picked, self.weights))
        random = chance(self, picked, criterion, at_random=chosen.all_random(s.criterion))
        reach, used = random.reach, s.limits.recorded()
        result = {
            "criterion": s.criterion,
            "budget": s.budget,
            "picked": len(np.unique(self.pairs.keys(picked))),
            **Spent.of(picked, self.space.pool, s.budget, limits, s.limits.unit).recorded(),
            **({"limits": used} if used else {}),
            "controls": len(controls),
            "controls_by_default": s.controls is None,
            "named": len(limits.must),
            "candidate_pairs": self.pairs.candidates,
            "beta": self.beta,
            "features": self.name,
            "labels_before": len(self.space.labels),
            "predicted_gap_before": reach.before,
            "predicted_gap": reach.gap,
            "predicted_gap_error": reach.error,
            "random_predicted_gap": reach.random,
            "predicted_saving_error": reach.saving_error,
            "labels_random_would_need": reach.labels_needed,
            **self._certified(value, random.value, solution),
            **chosen.how,
            "beyond_approximation": self._beyond(picked),
            "interrupted": chosen.stopped or (solution is not None and solution.interrupted),
            "seconds": round(time.perf_counter() - started, 3),
        }
        written = self._write(picked, controls, result, solution)
        resume.clear()
        return written

    def _beyond(self, picked: np.ndarray) -> float:
        """The share of picked pairs whose weight is not known to be within 9 %
        (`PairWeights.beyond`)."""
        return float(np.mean(self.weights.beyond(self.pairs.differences(picked))))

    def _resume(self) -> Resume:
        """Where this selection is kept while it runs: of these settings, inputs and candidates
        alone."""
        excluded = hashlib.sha256(self.pairs.excluded.tobytes()).hexdigest()
        batch = self.space.run.next_number("batches")
        return Resume(self.space.run.root, digest(*self.recorded(), batch, excluded, versions()))

    @cached_property
    def _control_pairs(self) -> PairSpace:
        return self._pairs(self.space.pool.holdout)

    def _check_controls(self) -> None:
        count, most = self.settings.controls, self._control_pairs.candidates
        if count is not None and count > most:
            raise UserError(
                f"controls must be at most the {counted(most, 'pair')} of held-out prompts",
                f"got {count}",
                "import with --holdout 0.2",
            )

    def _controls(self, labels: int) -> np.ndarray:
        """Control pairs beside a batch of so many labels."""
        count, there = self.settings.controls, self._control_pairs
        if count is None:
            count = min(share_of(CONTROLS_SHARE, labels), there.candidates)
        if count == 0:
            return np.empty((0, 2), np.int64)
        return random_pairs(there, count, stream(self.seed, Stream.CONTROLS))

    def _certified(
        self, value: float, random_value: float, solution: Solution | None
    ) -> dict[str, Any]:
        """The criterion's own value (for the gap tr(Ī M⁻¹), no gap in J), random's mean of it, its
        bound, certificate and share of the regret, passes: null where they say nothing."""
        names = ("value", "random", "bound")
        found: dict[str, Any] = {f"criterion_{name}": None for name in names}
        found |= {"certificate": None, "regret_share": None, "passes": 0}
        if solution is None:
            return found
        criterion = self.target.criterion if self.target else self.gap
        found |= {"criterion_value": value, "criterion_random": random_value}
        found |= {"passes": len(solution.reports)}
        certificate = criterion.certificate(value, solution.bound, self.pairs.dim)
        if certificate is None:
            return found
        room = random_value - solution.bound
        share = (value - solution.bound) / room if room > 0 else None
        return found | {
            "criterion_bound": solution.bound,
            "certificate": certificate,
            "regret_share": share,
        }

    def _write(
        self,
        picked: np.ndarray,
        controls: np.ndarray,
        result: dict[str, Any],
        solution: Solution | None,
    ) -> Outcome:
        run = self.space.run
        name = run.next_number("batches")
        path = run.root / "batches" / name / "pairs.jsonl"
        result = {**result, "batch": name, "batch_file": str(path)}
        pool = self.space.pool
        rows = batch_rows(pool, np.concatenate([picked, controls]), seed=self.seed)
        missing = not_in_drawer(self.space, {row["pair_id"]: row.get("labels", 1) for row in rows})
        if missing:
            result["not_in_drawer"] = missing

        def make(folder: Path) -> dict[str, Any]:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            with (folder / "pairs.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(lines)
            if solution is not None:
                history = [vars(report) for report in solution.reports]
                (folder / "passes.json").write_text(json.dumps(finite(history)), encoding="utf-8")
            return result

        run.commit(("batches", name), "select", *self.recorded(), make)
        return Outcome(batch_message(result), result, False, run.root / "batches" / name)
