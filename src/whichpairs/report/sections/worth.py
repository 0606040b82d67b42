"""The verdict: was it worth it, against random pairs? One sentence on the whole run, and its evidence.

It is measured where random pairs were asked too (`data.random_arm`), predicted where the run can be
judged as a whole (`data.whole_run`), and unknown otherwise. No other place of the page gives a verdict.
"""

from markupsafe import Markup

from whichpairs.report.data.facts import Facts
from whichpairs.report.data.random_arm import Arm
from whichpairs.report.data.whole_run import WholeRun
from whichpairs.report.page.format import data, how_many, say
from whichpairs.report.page.glossary import term
from whichpairs.report.page.parts import Kind, Worth
from whichpairs.wording import plural

CLASSES: dict[Kind, str] = {
    "measured": "Measured against random",
    "predicted": "Predicted, not measured",
    "unknown": "Unknown",
}
"""What the page calls each kind of evidence."""


def worth(facts: Facts, whole: WholeRun | None, arm: Arm | None) -> Worth:
    """The verdict on the run."""
    if not facts.batches:
        text = "Nothing is picked yet" if facts.pool else "There is no pool yet"
        return Worth("unknown", Markup(text), Markup(""))
    if whole is not None and whole.at_random:
        many = how_many(whole.labels, "label")
        said = say("{many} of random pairs: there is nothing to compare with random", many=many)
        return Worth("unknown", said, Markup(""))
    if arm is not None and arm.ahead.low is not None and arm.ahead.high is not None:
        return _measured(arm, whole)
    if whole is not None:
        return Worth("predicted", _foretold(whole), _behind(whole))
    return _unknown(facts)


def needs(n: float) -> Markup:
    """How many labels random needs, as the whole page says it."""
    return Markup('<data class="needs" value="{}">{}</data>').format(
        repr(n), data(n, "count").striptags()
    )


def _foretold(whole: WholeRun) -> Markup:
    values = {"n": data(whole.labels, "count")}
    if whole.needs is None:
        sentence = "{n} labels are predicted to do the work of more than {most} random ones"
        return say(sentence, **values, most=data(whole.searched, "count"))
    if whole.needs == whole.labels:
        return say("Random pairs are predicted to do as well as these {n}", **values)
    values["needs"] = needs(whole.needs)
    if whole.needs < whole.labels:
        sentence = "Random pairs are predicted to do better: {needs} would do the work of these {n}"
        return say(sentence, **values)
    return say("{n} labels are predicted to do the work of {needs} random ones", **values)


def _behind(whole: WholeRun) -> Markup:
    """What a prediction rests on."""
    gaps = say(
        "{gap} of the run {ours}, of as many {random} {theirs} (± {error} between them).",
        gap=term("predicted gap", "Predicted gap"),
        ours=data(whole.end.ours.mean),
        random=term("random pairs"),
        theirs=data(whole.end.random.mean),
        error=data(2.0 * whole.apart, "short"),
    )
    if not whole.seen:
        by = Markup("No label is counted in it: it is what was believed before the first.")
    else:
        by = say(
            "By what {labels} say of the rewards, as far as preferences follow the features.",
            labels=how_many(whole.seen, "label"),
        )
    return say("{gaps} {by} Nobody has asked random pairs here.", gaps=gaps, by=by)


def _measured(arm: Arm, whole: WholeRun | None) -> Worth:
    low, high = arm.ahead.low, arm.ahead.high
    assert low is not None
    assert high is not None
    values = {"n": data(arm.labels, "count"), "by": data(abs(arm.ahead.mean), "short")}
    if low > 0:
        head = say("Worth it here: {n} labels are {by} in J ahead of {n} random ones", **values)
    elif high < 0:
        head = say("Not worth it here: {n} random labels are {by} in J ahead of these", **values)
    else:
        head = say(
            "No better than random here: {n} labels, and no difference in J is seen", **values
        )
    said = say(
        "{sets} sets of {n} random pairs were answered by the same score (<code>{score}</code>), fitted and "
        "judged the same way. {j} of this run is ahead of theirs by {ahead} on held-out prompts ({interval} "
        "{low} to {high}).",
        sets=arm.sets,
        n=data(arm.labels, "count"),
        score=arm.score,
        ahead=data(arm.ahead.mean, "lean"),
        j=term("J"),
        interval=term("95 % interval"),
        low=data(low, "lean"),
        high=data(high, "lean"),
    )
    more = [said]
    if low > 0 and arm.random_needs is not None:
        about = data(float(f"{arm.random_needs:.2g}"), "count")
        more.append(say("Random pairs gained as much with about {about} labels.", about=about))
    if whole is not None:
        more.append(say("(Predicted: {said}.)", said=_lower(_foretold(whole))))
    return Worth("measured", head, Markup(" ").join(more))


def _lower(sentence: Markup) -> Markup:
    text = str(sentence)
    return Markup(text[0].lower() + text[1:])


def _unknown(facts: Facts) -> Worth:
    asked = facts.asked
    n = sum(one.labels for one in asked)
    head = say(
        "{n} {labels} asked for; whether random pairs would do as well is unknown",
        n=data(n, "count"),
        labels=plural(n, "label"),
    )
    if not any(one.limited for one in asked):
        why = (
            "The features that the latest batch was picked from are no longer there, or it is of a "
        )
        return Worth("unknown", head, Markup(why + "version without predicted gaps."))
    last = asked[-1]
    if len(asked) > 1 or last.gap is None or last.random is None:
        why = "Batches were picked within limits, and random pairs of another number may not keep them."
        return Worth("unknown", head, Markup(why))
    return _within_limits(asked[0].labels, last.gap, last.random, last.saving_error)


def _within_limits(labels: int, gap: float, random: float, error: float) -> Worth:
    """A single batch beside random ones that keep the same limits."""
    values = {"n": data(labels, "count")}
    if abs(random - gap) <= 2.0 * error:
        sentence = "Random pairs within the same limits are predicted to do as well as these {n}"
    elif gap < random:
        sentence = "{n} labels are predicted to do more than random ones within the same limits"
    else:
        sentence = "Random pairs within the same limits are predicted to do better than these {n}"
    said = say(
        "The batch is predicted to reach a predicted gap of {gap}, random batches within the same limits "
        "{random} (± {error} between them). Nobody has asked random pairs here.",
        gap=data(gap),
        random=data(random),
        error=data(2.0 * error, "short"),
    )
    return Worth("predicted", say(sentence, **values), said)
