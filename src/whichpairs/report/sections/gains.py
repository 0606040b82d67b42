"""The section on what was gained: reward, KL and J on held-out prompts, against the reference."""

import shlex
from typing import Any

from markupsafe import Markup

from whichpairs.report.charts import result_charts as panels
from whichpairs.report.data.facts import Facts
from whichpairs.report.page.format import data, how_many, say
from whichpairs.report.page.parts import Cell, Figure, Missing, Section, Table
from whichpairs.report.sections.headline import NO_EVIDENCE, judge
from whichpairs.run.folder import Record


def gained(facts: Facts) -> Section:
    """Reward, KL, J and the gain, with their intervals."""
    title = "What it gained"
    if not facts.evaluations:
        return Section("gain", title, missing=_not_evaluated(facts))
    lead = []
    shown = []
    if facts.judged is None:
        lead.append(say("What was gained is <b>unknown</b>: {why}.", why=NO_EVIDENCE))
    else:
        name, record = facts.judged
        lead.append(
            say(
                "Evaluation {name}: {policy} against the reference policy on {n}, "
                "by {judge}, β = {beta}.",
                name=name,
                policy=facts.policy(record.result["policy"])
                if record.settings.get("score") is None
                else f"the log-linear policy of fit {record.result['policy']}",
                n=how_many(record.result["held_out_prompts"], "held-out prompt"),
                judge=judge(record.settings),
                beta=data(record.result["beta"], "plain"),
            )
        )
        shown = _gain_figures(record)
    return Section("gain", title, lead, shown, [_evaluation_table(facts)])


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


_QUANTITIES = {
    "reward": ("Reward", "E r: what the judge gives the policy’s completions."),
    "kl": ("KL", "KL from the reference policy, in nats: what the reward was paid with."),
    "J": ("J", "E r − β KL. Both intervals share the prompts’ own spread; the gain does not."),
}


def _gain_figures(record: Record) -> list[Figure]:
    r = record.result
    value = r["gain"]
    known = value["low"] is not None
    word = "An interval needs two held-out prompts or more."
    if known:
        word = "The interval holds 0: no gain is shown."
        word = "The whole interval is above 0." if value["low"] > 0 else word
        word = "The whole interval is below 0: the policy lost." if value["high"] < 0 else word
    caption = say("<b>Gain in J, prompt by prompt.</b> {word}", word=word)
    label = f"Gain in J: {value['mean']:.4g}. {word}"
    shown = [Figure(panels.dots("gain", [("gain", value, True)], label, True), caption)]
    for key in ("J", "reward", "kl"):
        name, text = _QUANTITIES[key]
        pair = [(who, r[f"{who}_values"][key]) for who in ("reference", "policy")]
        rows = [(who, value, who == "policy") for who, value in pair]
        label = name + ": " + ", ".join(f"{who} {value['mean']:.4g}" for who, value in pair)
        svg = panels.dots(f"dots-{key}", rows, label, False)
        shown.append(Figure(svg, say("<b>{name}.</b> {text}", name=name, text=text)))
    return shown


def _evaluation_table(facts: Facts) -> Table:
    rows: list[list[Cell]] = []
    for name, record in facts.evaluations:
        r = record.result
        rows += [
            [
                say(
                    "{name}: {policy}, by {judge}{drawn}",
                    name=name,
                    policy=_who(facts, r["policy"], record.settings),
                    judge=judge(record.settings),
                    drawn=_drawn(record.settings),
                ),
                *(_interval(r["policy_values"][key]) for key in ("reward", "kl", "J")),
                _interval(r["gain"], "signed") if r["policy"] != "reference" else Markup("–"),
            ],
        ]
        if r["policy"] != "reference":  # its own row says it
            beside = (_interval(r["reference_values"][key]) for key in ("reward", "kl", "J"))
            rows.append([f"the reference beside {name}", *beside, Markup("–")])
    return Table(("Evaluation", "Reward", "KL", "J", "Gain in J"), rows)


def _drawn(settings: dict[str, Any]) -> Markup:
    """How the completions were drawn, where any were: two evaluations may differ in this alone."""
    if settings.get("reward") is None:
        return Markup("")
    return say(
        ", {samples} samples of at most {tokens} tokens, seed {seed}",
        samples=data(settings["samples"], "count"),
        tokens=data(settings["max_new_tokens"], "count"),
        seed=data(settings["seed"], "plain"),
    )


def _who(facts: Facts, policy: str, settings: dict[str, Any]) -> str:
    if policy == "reference":
        return "the reference"
    against = settings.get("against")
    who = f"fit {policy}" if settings.get("score") is not None else facts.policy(policy)
    return f"{who} against {against}" if against else who


def _interval(value: dict[str, Any], form: str = "number") -> Markup:
    if value["low"] is None or abs(value["high"]) < 1e-12:
        return data(value["mean"], form)
    ends = {"low": data(value["low"], form), "high": data(value["high"], form)}
    return say("{mean} ({low} … {high})", mean=data(value["mean"], form), **ends)
