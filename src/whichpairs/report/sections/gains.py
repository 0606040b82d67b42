"""The section on what was gained: reward, KL and J on held-out prompts, judgements, checks, what was taught."""

import shlex

from markupsafe import Markup

from whichpairs.evaluate.interval import Interval
from whichpairs.report.charts import result_charts as panels
from whichpairs.report.data.facts import Facts
from whichpairs.report.data.records import Compared, Evaluated, Quantities
from whichpairs.report.page.format import data, how_many, say
from whichpairs.report.page.glossary import term
from whichpairs.report.page.parts import Cell, Figure, Missing, Section, Table
from whichpairs.report.sections.words import NO_EVIDENCE, interval_cell, judge

ID, TITLE = "gain", "What it gained"


def gained(facts: Facts) -> Section:
    """Reward, KL, J and the gain with their intervals; win rates, checks, taught policies."""
    judged = facts.evaluated_last
    others = [*_judgements(facts), *_checks(facts), *_taught(facts)]
    if not facts.evaluations and not others:
        return Section(ID, TITLE, missing=_not_evaluated(facts))
    lead, shown = list[Markup](), list[Figure]()
    if judged is None:
        lead.append(say("What was gained in J is <b>unknown</b>: {why}.", why=NO_EVIDENCE))
    else:
        lead.append(
            say(
                "Evaluation {name}: {policy} against the {reference} policy on {n}, "
                "by {judge}, β = {beta}.",
                name=judged.name,
                policy=_whose(facts, judged),
                reference=term("reference"),
                n=how_many(judged.prompts, "held-out prompt"),
                judge=judge(judged),
                beta=data(judged.beta, "plain"),
            )
        )
        shown = _gain_figures(judged)
    tables = [_evaluation_table(facts)] if facts.evaluations else []
    for compared in facts.compared:
        lead.append(_preferred(compared))
    return Section(ID, TITLE, lead, shown, [*tables, *others])


def _whose(facts: Facts, judged: Evaluated) -> str:
    if judged.score is None:
        return facts.policy(judged.policy)
    return f"the log-linear policy of fit {judged.policy}"


def _not_evaluated(facts: Facts) -> Missing:
    run = shlex.quote(str(facts.root))
    if facts.pool and not facts.result.get("held_out_prompts"):
        why = "What was gained is unknown: this pool has no held-out prompts. Start another run."
        return Missing(why, "whichpairs import FILE --run NEW --holdout 0.2")
    command = facts.next
    if facts.policies:
        command = f"whichpairs evaluate --run {run} --reward FOLDER"
    elif facts.fits:
        command = f"whichpairs evaluate --run {run} --score COLUMN"
    return Missing(f"What was gained is unknown: {NO_EVIDENCE}.", command)


def _gain_figures(judged: Evaluated) -> list[Figure]:
    value = judged.gain
    word = "An interval needs two held-out prompts or more."
    if value.low is not None and value.high is not None:
        word = "The interval holds 0: no gain is shown."
        word = "The whole interval is above 0." if value.low > 0 else word
        word = "The whole interval is below 0: the policy lost." if value.high < 0 else word
    caption = say("<b>Gain in J, prompt by prompt.</b> {word}", word=word)
    label = f"Gain in J: {value.mean:.4g}. {word}"
    svg = panels.dots("gain", [("gain", value, True)], label, True)
    shown = [Figure(svg, caption, table=_rows([("gain in J", value)], "signed"))]
    texts = (
        ("J", "E r − β KL. Both intervals share the prompts’ own spread; the gain does not."),
        ("Reward", "E r: what the judge gives the policy’s completions."),
        ("KL", "KL from the reference policy, in nats: what the reward was paid with."),
    )
    ours, theirs = _three(judged.ours), _three(judged.reference)
    for (name, text), mine, other in zip(texts, ours, theirs, strict=True):
        both = [("reference", other, False), ("policy", mine, True)]
        label = f"{name}: reference {other.mean:.4g}, policy {mine.mean:.4g}"
        svg = panels.dots(f"dots-{name.lower()}", both, label, False)
        table = _rows([(who, one) for who, one, _ in both], "number")
        words = say("<b>{name}.</b> {text}", name=name, text=text)
        shown.append(Figure(svg, words, table=table))
    return shown


def _three(found: Quantities) -> tuple[Interval, Interval, Interval]:
    return found.j, found.reward, found.kl


def _rows(rows: list[tuple[str, Interval]], form: str) -> Table:
    cells: list[list[Cell]] = [[who, interval_cell(value, form)] for who, value in rows]
    return Table(("Of", "Mean (95 % interval)"), cells)


def _evaluation_table(facts: Facts) -> Table:
    rows: list[list[Cell]] = []
    for one in facts.evaluated:
        own = one.policy != "reference"
        rows += [
            [
                say(
                    "{name}: {policy}, by {judge}{drawn}",
                    name=one.name,
                    policy=_who(facts, one.policy, one.score, one.against),
                    judge=judge(one),
                    drawn=_drawn(one.reward, one.samples, one.tokens, one.seed),
                ),
                *_cells(one.ours),
                interval_cell(one.gain, "signed") if own else Markup("–"),
            ],
        ]
        if own:  # the reference's own row says it
            rows.append([f"the reference beside {one.name}", *_cells(one.reference), Markup("–")])
        if one.ahead is not None:
            ahead = [interval_cell(value, "signed") for value in _columns(one.ahead)]
            rows.append([f"{one.name}: ahead of {one.against}", *ahead, Markup("–")])
    return Table(("Evaluation", "Reward", "KL", "J", "Gain in J"), rows)


def _columns(found: Quantities) -> tuple[Interval, Interval, Interval]:
    return found.reward, found.kl, found.j


def _cells(found: Quantities) -> list[Markup]:
    return [interval_cell(value) for value in _columns(found)]


def _drawn(reward: str | None, samples: int | None, tokens: int | None, seed: int | None) -> Markup:
    """How the completions were drawn, where any were: two evaluations may differ in this alone."""
    if reward is None:
        return Markup("")
    return say(
        ", {samples} samples of at most {tokens} tokens, seed {seed}",
        samples=data(samples, "count"),
        tokens=data(tokens, "count"),
        seed=data(seed, "plain"),
    )


def _who(facts: Facts, policy: str, score: str | None = None, against: str | None = None) -> str:
    if policy == "reference":
        return "the reference"
    who = f"fit {policy}" if score is not None else facts.policy(policy)
    return f"{who} against {against}" if against else who


def _preferred(one: Compared) -> Markup:
    """What a judge says, in a sentence that claims no more than its interval."""
    low, high = one.rate.low, one.rate.high
    words = "no preference is shown"
    if low is not None and high is not None and (low > 0.5 or high < 0.5):
        words = "preferred" if low > 0.5 else "the other is preferred"
    return say(
        "Judgement {name}: <b>{words}.</b> {model} prefers policy {policy} to {against} in {rate} of "
        "{n} (a tie is ½).",
        name=one.name,
        words=words,
        model=one.model,
        policy=one.policy,
        against=one.against,
        rate=interval_cell(one.rate, "percent"),
        n=how_many(one.comparisons, "comparison"),
    )


def _judgements(facts: Facts) -> list[Table]:
    rows: list[list[Cell]] = [
        [
            say(
                "{name}: {policy} against {other}",
                name=one.name,
                policy=one.policy,
                other=one.against,
            ),
            interval_cell(one.rate, "percent"),
            data(one.wins, "count"),
            data(one.losses, "count"),
            data(one.ties, "count"),
            data(one.disagreements, "count"),
            data(None) if one.first is None else interval_cell(one.first, "percent"),
        ]
        for one in facts.compared
    ]
    head = ("Judgement", "Win rate", "Won", "Lost", "Ties", "of them by order", "First shown won")
    return [Table(head, rows)] if rows else []


def _checks(facts: Facts) -> list[Table]:
    rows: list[list[Cell]] = [
        [
            say("{name}: {what}", name=one.name, what=what),
            *(interval_cell(value) for value in (mine, other)),
            interval_cell(apart, "signed"),
        ]
        for one in facts.checked
        for what, mine, other, apart in one.rows
    ]
    head = ("What it can still do", "Policy", "Beside it", "Difference")
    return [Table(head, rows)] if rows else []


def _taught(facts: Facts) -> list[Table]:
    """What fits taught policies."""
    rows: list[list[Cell]] = []
    for one in facts.trained:
        taught = one.taught
        if taught is None:
            continue
        sure = taught.confidence
        rows.append(
            [
                f"policy {one.name}",
                data(one.labels, "count"),
                data(taught.pairs, "count"),
                say("{how}, by fit {fit}", how=taught.chosen_by, fit=taught.fit),
                data(None) if sure is None else data(sure, "percent"),
            ]
        )
    head = (
        term("taught", "Taught"),
        "Labels",
        "Pairs without a label",
        "Chosen",
        "Mean confidence",
    )
    return [Table(head, rows, title="What was taught")] if rows else []
