"""The head of the page: the verdict, its picture, money and hours, what was gained, what comes next.

A gain is claimed only from an evaluation on held-out prompts, and only where its interval is above 0.
"""

import shlex
from dataclasses import dataclass

from markupsafe import Markup

from whichpairs.report.charts import run_charts as charts
from whichpairs.report.data.effort import Effort
from whichpairs.report.data.facts import Facts
from whichpairs.report.data.random_arm import Arm
from whichpairs.report.data.records import Evaluated, Trained
from whichpairs.report.data.whole_run import Mean, WholeRun
from whichpairs.report.page.format import data, how_many, say
from whichpairs.report.page.glossary import term
from whichpairs.report.page.parts import Figure, Table, Tile, Verdict
from whichpairs.report.sections.words import HOW, NO_EVIDENCE, interval_cell, judge
from whichpairs.report.sections.worth import needs, worth
from whichpairs.run.folder import Record
from whichpairs.wording import plural
from whichpairs.workflow.drawer import from_drawer


@dataclass(frozen=True)
class Against:
    """All that is known of the run against random pairs, and what its labels cost."""

    whole: WholeRun | None
    arm: Arm | None
    effort: Effort


def verdict(facts: Facts, against: Against) -> Verdict:
    """The head of the page."""
    sentences = [("Picked", _picked(facts))]
    if facts.policies:
        sentences.append(("Policy", _trained(facts.trained[-1])))
    sentences.append(("Gain", gain(facts)))
    return Verdict(
        worth(facts, against.whole, against.arm),
        _figures(against),
        _tiles(facts, against),
        sentences,
        _warnings(facts),
    )


def _figures(against: Against) -> list[Figure]:
    found = []
    if against.whole is not None:
        found.append(_gap_figure(against.whole))
    if against.arm is not None:
        found.append(_gain_figure(against.arm))
    return found


def _gap_figure(whole: WholeRun) -> Figure:
    """Predicted gap against labels, for the whole run."""
    end = whole.end
    if whole.at_random:
        words = "<b>{n} random labels are predicted to leave a gap of {ours}.</b>"
    else:
        words = "<b>After {n} labels: a predicted gap of {ours}, after as many random ones {theirs}.</b>"
    caption = say(
        words + " Whiskers and the grey band are two standard errors of the forecast.",
        n=data(end.labels, "count"),
        ours=data(end.ours.mean),
        theirs=data(end.random.mean),
    )
    label = "Predicted gap against labels. " + str(caption.striptags())
    rows = [
        [
            f"batch {point.batch}",
            data(point.labels, "count"),
            _mean(point.ours),
            _mean(point.random),
        ]
        for point in whole.points
    ]
    rows += [
        ["random pairs alone", data(n, "count"), Markup("–"), _mean(gap)] for n, gap in whole.curve
    ]
    head = ("Up to", "Labels", "Predicted gap, this run", "Predicted gap, random pairs")
    return Figure(
        charts.gap_curve(whole, label),
        caption,
        charts.gap_curve(whole, label, narrow=True),
        Table(head, rows, title="Predicted gap against labels"),
    )


def _mean(value: Mean) -> Markup:
    return say("{mean} ± {error}", mean=data(value.mean), error=data(2.0 * value.error, "short"))


def _gain_figure(arm: Arm) -> Figure:
    """Measured gain in J against labels."""
    caption = say(
        "<b>Measured: {ours} in J over the reference with {n} labels, {theirs} with as many random "
        "ones.</b> Intervals are 95 %, over prompts, and for random pairs over {sets} sets too; both sides "
        "share the prompts’ spread, their difference does not.",
        ours=data(arm.ours[-1][1].mean, "signed"),
        n=data(arm.labels, "count"),
        theirs=data(dict(arm.random)[arm.labels].mean, "signed"),
        sets=arm.sets,
    )
    label = "Measured gain in J against labels. " + str(caption.striptags())
    rows = [
        [who, data(n, "count"), interval_cell(value, "signed")]
        for who, found in (("this run", arm.ours), ("random pairs", arm.random))
        for n, value in found
    ]
    table = Table(("Picked by", "Labels", "Gain in J (95 % interval)"), rows, title="Measured gain")
    return Figure(
        charts.gain_curve(arm, label), caption, charts.gain_curve(arm, label, narrow=True), table
    )


def _tiles(facts: Facts, against: Against) -> list[Tile]:
    if not facts.batches:
        return []
    count = len(facts.batches)
    where = say("in {n} batches", n=count) if count > 1 else Markup("in one batch")
    tiles = [Tile(data(facts.picked, "count"), say("pairs picked, {where}", where=where))]
    tiles += _against_random(against.whole)
    tiles += _cost(facts, against)
    tiles.append(_gain_tile(facts))
    return tiles


def _against_random(whole: WholeRun | None) -> list[Tile]:
    """The whole run’s prediction, as the headline has it."""
    if whole is None or whole.at_random or whole.ratio is None:
        return []
    if whole.needs == whole.labels:
        words = "predicted against random pairs: no difference seen"
        return [Tile(Markup("no saving"), Markup(words), known=False)]
    words = say(
        "predicted: random pairs need {needs} labels for the same gap",
        needs=needs(whole.needs or 0),
    )
    return [Tile(say("{x} ×", x=data(whole.ratio, "short")), words)]


def _cost(facts: Facts, against: Against) -> list[Tile]:
    """Money and hours, each said to be unknown where it is."""
    spent, whole = against.effort, against.whole
    n = how_many(spent.labels, "label")
    if spent.cost is None:
        words = say("money for {n}: pass <code>--cost-per-label</code>", n=n)
        found = [Tile(Markup("unknown"), words, known=False)]
    else:
        words = say("for {n}, {each} each", n=n, each=data(spent.a_label or 0.0, "plain"))
        if whole is not None and whole.needs is not None and whole.needs > whole.labels:
            more = (whole.needs - whole.labels) * (spent.a_label or 0.0)
            words += say("; random is predicted to cost {more} more", more=data(more, "money"))
        found = [Tile(data(spent.cost, "money"), words)]
    if spent.hours is None:
        words = say("hours for {n}: no times are known", n=n)
        return [*found, Tile(Markup("unknown"), words, known=False)]
    words = say("for {n}, {each} s each", n=n, each=data(spent.seconds or 0.0, "short"))
    words += (
        say(" (median of {timed})", timed=how_many(spent.timed, "answer")) if spent.timed else ""
    )
    return [*found, Tile(say("{h} h", h=data(spent.hours, "short")), words)]


def _gain_tile(facts: Facts) -> Tile:
    judged = facts.evaluated_last
    if judged is None:
        return Tile(Markup("unknown"), Markup("gain: not evaluated"), known=False)
    low, high = judged.gain.low, judged.gain.high
    words = say("in J over the reference, on held-out prompts: {who}", who=_of_whom(facts, judged))
    if low is not None and high is not None and (low > 0 or high < 0):
        return Tile(data(judged.gain.mean, "signed"), words)
    return Tile(Markup("not shown"), Markup("gain: the interval holds 0, or is not known"), False)


def _picked(facts: Facts) -> Markup:
    if not facts.batches:
        return Markup("Nothing yet.")
    asked = facts.asked
    kinds = list(dict.fromkeys(one.criterion for one in asked))
    controls = sum(one.controls for one in asked)
    sentence = "{n} {pairs} from {candidates} candidates, by {how}"
    if controls:
        sentence += ", and {controls} {control}, never fitted"
    taken = len(from_drawer(facts.space))
    labels = ". {labels} {answers} {are} in" if facts.labels else ". No label is in yet"
    if taken:
        labels += ", {taken} of them from the drawer: they were there before, and were kept back"
    return say(
        f"{sentence}{labels}.",
        taken=data(taken, "count"),
        n=data(facts.picked, "count"),
        pairs=plural(facts.picked, "pair"),
        candidates=data(asked[0].candidates, "count"),
        how=" and ".join(HOW.get(kind, kind) for kind in kinds),
        controls=data(controls, "count"),
        control=term("control pairs", plural(controls, "control pair")),
        labels=data(facts.labels, "count"),
        answers=plural(facts.labels, "label"),
        are="is" if facts.labels == 1 else "are",
    )


def _trained(policy: Trained) -> Markup:
    """Of what a policy was made: labels, and what a fit taught it."""
    made = say(
        "Policy {name}: DPO on {labels}",
        name=policy.name,
        labels=how_many(policy.labels, "label"),
    )
    if policy.taught is None:
        return say("{made}.", made=made)
    return say(
        "{made}, and on {pairs} that nobody was asked about, taught by fit {fit}: what it gained is "
        "not the labels’ alone.",
        made=made,
        pairs=how_many(policy.taught.pairs, "pair"),
        fit=policy.taught.fit,
    )


def _of_whom(facts: Facts, judged: Evaluated) -> str:
    """What an evaluation judged, in words."""
    return f"fit {judged.policy}" if judged.score is not None else facts.policy(judged.policy)


def gain(facts: Facts) -> Markup:
    """What evaluation says was gained; “unknown” and why, without one."""
    judged = facts.evaluated_last
    if judged is None:
        reason = NO_EVIDENCE
        if facts.pool and not facts.result.get("held_out_prompts"):
            reason = "this pool has no held-out prompts to evaluate on"
        return say("Unknown: {reason}.", reason=reason)
    found = judged.gain
    values: dict[str, Markup | str] = {
        "mean": data(found.mean),
        "low": data(found.low),
        "high": data(found.high),
        "by": data(abs(found.mean)),
        "prompts": how_many(judged.prompts, "held-out prompt"),
        "judge": judge(judged),
        "who": _of_whom(facts, judged),
    }
    if found.low is None or found.high is None:
        return say("Unknown: {prompts} gives no interval.", **values)
    if found.low <= 0 <= found.high:
        start = "None shown: the change in J by {who} is {mean}, and its 95 % interval, "
        return say(start + "{low} to {high}, holds 0 ({prompts}, by {judge}).", **values)
    return say(
        "J = E r − β KL of {who} {verb} by {by} over the reference policy (95 % interval {low} to "
        "{high}, {prompts}, by {judge}). How random pairs compare is the verdict’s to say, not "
        "this figure’s.",
        verb="rose" if found.low > 0 else "FELL",
        **values,
    )


def _warnings(facts: Facts) -> list[Markup]:
    run = shlex.quote(str(facts.root))
    found = []
    if facts.waiting:
        found.append(
            say(
                "{n} picked {pairs} for a label; predictions count them as labelled.",
                n=data(facts.waiting, "count"),
                pairs="pair waits" if facts.waiting == 1 else "pairs wait",
            )
        )
    made = judged_policy(facts)
    if made is not None and facts.stale(made[1]):
        found.append(
            say(
                "Labels came after {kind} {name} was made: its evaluation says nothing of them. "
                "<code>whichpairs {stage} --run {run}</code>",
                kind=made[2],
                name=made[0],
                stage="fit" if made[2] == "fit" else "train",
                run=run,
            )
        )
    return found


def judged_policy(facts: Facts) -> tuple[str, Record, str] | None:
    """Name, record and kind (fit or policy) of what the latest evaluation judged."""
    judged = facts.evaluated_last
    if judged is None:
        return None
    fits = judged.score is not None
    record = dict(facts.fits if fits else facts.policies).get(judged.policy)
    return None if record is None else (judged.policy, record, "fit" if fits else "policy")
