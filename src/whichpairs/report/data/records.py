"""What the page reads of the manifests, as records of its own: the one place that knows their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from whichpairs.design.estimate.bradley_terry import Quality
from whichpairs.evaluate.interval import Interval
from whichpairs.run.folder import Record
from whichpairs.workflow.select.batch_result import labels_of, predicted

Found = Mapping[str, Any]
"""A JSON object of a manifest."""


@dataclass(frozen=True)
class Batch:
    """A batch as its manifest tells it.

    Attributes:
        labels: that it asks for, controls not counted; controls: pairs beside them.
        before, gap, random: predicted gaps without it, with it, with random pairs in its place, in
            units of J; None for a batch of an older version.
        error, saving_error: standard errors of `gap` and of `random` − `gap`.
        needs: labels that random is predicted to need for `gap`; None where it was not looked for or
            not found.
        random_picked: labels of it that are random; None for criteria that draw none.
        certificate, regret_share: of its solve; value: the criterion's.
        limited: whether more than the budget limits it; seen: labels there when it was picked.
        features: fingerprint of the features it was picked from; spread: τ of the prior, in logits.
    """

    name: str
    criterion: str
    picked: int
    labels: int
    controls: int
    candidates: int
    before: float | None
    gap: float | None
    random: float | None
    error: float
    saving_error: float
    needs: int | None
    random_picked: int | None
    certificate: float | None
    regret_share: float | None
    value: float | None
    limited: bool
    seen: int
    features: str | None
    spread: float | None

    @property
    def at_random(self) -> bool:
        """Whether it is uniformly random, as the first adaptive ones are too."""
        return self.criterion == "random" or self.random_picked == self.labels


def batch_of(name: str, record: Record) -> Batch:
    """The batch of a finished selection."""
    r, gaps = record.result, predicted(record.result)
    return Batch(
        name=name,
        criterion=r["criterion"],
        picked=r["picked"],
        labels=labels_of(r),
        controls=r["controls"],
        candidates=r["candidate_pairs"],
        before=gaps["predicted_gap_before"],
        gap=gaps["predicted_gap"],
        random=gaps["random_predicted_gap"],
        error=r.get("predicted_gap_error", 0.0),
        saving_error=r.get("predicted_saving_error", 0.0),
        needs=r["labels_random_would_need"],
        random_picked=r.get("random_picked"),
        certificate=r["certificate"],
        regret_share=r["regret_share"],
        value=r.get("criterion_value"),
        limited=bool(r.get("limits")),
        seen=r.get("labels_before", 0),
        features=record.inputs.get("features"),
        spread=record.settings.get("prior_spread"),
    )


@dataclass(frozen=True)
class Pass:
    """One pass of a solve: the criterion's value, its lower bound, seconds since the start."""

    number: int
    batch: float
    bound: float | None
    seconds: float


def passes_of(rows: Sequence[Found]) -> list[Pass]:
    """The passes of a solve, in order."""
    return [Pass(x["number"], x["batch"], x["bound"], x["seconds"]) for x in rows]


@dataclass(frozen=True)
class Foretold:
    """The log loss that a fit's posterior foretold of control answers, and theirs, in nats."""

    controls: int
    predicted: float
    found: float
    error: float | None


@dataclass(frozen=True)
class Fitted:
    """A fit: `held` how well it predicts answers of held-out prompts, None without any."""

    name: str
    labels: int
    strength: float
    left_out: float | None
    held_labels: int
    held: Quality | None
    foretold: Foretold | None
    features: str


def fitted_of(name: str, record: Record) -> Fitted:
    """The fit of a finished `fit`."""
    r, told = record.result, record.result.get("foretold_held_out")
    if told is not None:
        told = Foretold(told["controls"], told["predicted"], told["found"], told["standard_error"])
    return Fitted(
        name,
        r["labels"],
        r["prior_strength"],
        r["cv_log_loss"],
        r["held_out_labels"],
        None if r["held_out"] is None else Quality(**r["held_out"]),
        told,
        str(record.settings.get("features", "")),
    )


@dataclass(frozen=True)
class Quantities:
    """Of a policy on held-out prompts: reward, KL from the reference in nats, J = E r − β KL."""

    reward: Interval
    kl: Interval
    j: Interval


@dataclass(frozen=True)
class Evaluated:
    """An evaluation by a score or a reward.

    Attributes:
        score, reward: which of the two judged; temperature: what its values were divided by.
        against: another policy that was looked at on the same prompts, and how far ahead of it.
    """

    name: str
    policy: str
    score: str | None
    reward: str | None
    temperature: float
    samples: int | None
    tokens: int | None
    seed: int | None
    beta: float
    prompts: int
    gain: Interval
    ours: Quantities
    reference: Quantities
    against: str | None
    ahead: Quantities | None
    created: str


def evaluated_of(name: str, record: Record) -> Evaluated:
    """The evaluation of a finished `evaluate`."""
    r, s = record.result, record.settings
    return Evaluated(
        name,
        r["policy"],
        s.get("score"),
        s.get("reward"),
        s.get("temperature", 1.0),
        s.get("samples"),
        s.get("max_new_tokens"),
        s.get("seed"),
        r["beta"],
        r["held_out_prompts"],
        interval_of(r["gain"]),
        _quantities(r["policy_values"]),
        _quantities(r["reference_values"]),
        s.get("against"),
        _quantities(r["differences"]) if "differences" in r else None,
        record.created,
    )


def _quantities(found: Found) -> Quantities:
    return Quantities(*(interval_of(found[key]) for key in ("reward", "kl", "J")))


def interval_of(found: Found) -> Interval:
    """A mean and the ends of its interval."""
    return Interval(found["mean"], found.get("standard_error"), found["low"], found["high"])


@dataclass(frozen=True)
class Taught:
    """What a fit taught a policy: pairs that nobody was asked about, and how sure it was of them."""

    pairs: int
    fit: str
    chosen_by: str
    confidence: float | None


@dataclass(frozen=True)
class Trained:
    """A trained policy: labels that it saw, and what it was taught beside them."""

    name: str
    labels: int
    taught: Taught | None


def trained_of(name: str, record: Record) -> Trained:
    """The policy of a finished `train`."""
    t = record.result.get("taught")
    if t is not None:
        t = Taught(t["pairs"], t["fit"], t.get("chosen_by", "random"), t.get("confidence"))
    return Trained(name, record.result["labels"], t)


@dataclass(frozen=True)
class Compared:
    """What a judge preferred: a policy's completions, or those of another.

    Attributes:
        rate: of wins, a tie ½; first: how often the answer shown first won, with its interval.
        ties: of them `disagreements`, where the two orders were answered differently.
    """

    name: str
    policy: str
    against: str
    model: str
    rate: Interval
    prompts: int
    comparisons: int
    wins: int
    losses: int
    ties: int
    disagreements: int
    unread: int
    first: Interval | None


def compared_of(name: str, record: Record) -> Compared:
    """The judgement of a finished `evaluate --judge`."""
    r = record.result
    w, bias = r["win_rate"], r["position_bias"]
    first = None
    if bias["first"] is not None and bias["range"] is not None:
        first = Interval(bias["first"], None, *bias["range"])
    return Compared(
        name,
        r["policy"],
        r["against"],
        r["judge_model"],
        interval_of(w["rate"]),
        w["prompts"],
        w["comparisons"],
        w["wins"],
        w["losses"],
        w["ties"],
        w["disagreements"],
        w["unread"],
        first,
    )


CheckedRow = tuple[str, Interval, Interval, Interval]
"""A quantity of a policy, of its opponent, and their difference."""


@dataclass(frozen=True)
class Checked:
    """What a policy can still do: each row a quantity with policy, opponent and difference."""

    name: str
    policy: str
    against: str
    rows: tuple[CheckedRow, ...]


def checked_of(name: str, record: Record) -> Checked:
    """The checks of a finished `evaluate --perplexity` or `--tasks`."""
    r, rows = record.result, list[tuple[str, Found]]()
    if "perplexity" in r:
        rows.append(("nats a token (less is better)", r["perplexity"]["nats"]))
    if "tasks" in r:
        rows.append(("share of tasks right", r["tasks"]["accuracy"]))
        rows.append(("the same, by length", r["tasks"]["normalised"]))
    found = tuple(
        (what, *(interval_of(both[side]) for side in ("policy", "reference", "difference")))
        for what, both in rows
    )
    return Checked(name, r["policy"], r["against"], cast("tuple[CheckedRow, ...]", found))
