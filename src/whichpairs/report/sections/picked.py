"""The section on what was picked: where it lies in the pool, how it spreads, and pairs with their reasons."""

import numpy as np
from markupsafe import Markup

from whichpairs.report.charts import design_charts as figures
from whichpairs.report.charts import pool_charts
from whichpairs.report.data.design_curves import Beginning, Choice
from whichpairs.report.data.facts import Facts
from whichpairs.report.data.pool_map import Shares, group_shares, pool_map
from whichpairs.report.page.format import data, how_many, say
from whichpairs.report.page.glossary import term
from whichpairs.report.page.parts import Figure, Missing, Section, Table
from whichpairs.report.sections.gallery import galleries
from whichpairs.wording import plural

ID, TITLE = "picked", "What was picked and why"


def picked(facts: Facts, start: Beginning | None, found: Choice | None) -> Section:
    """The section.

    Args:
        start: where the designs began; None without their features.
        found: all that was picked beside random candidates; None without a batch.
    """
    if found is None:
        why = "No batch has been picked."
        return Section(ID, TITLE, missing=Missing(why, facts.next))
    shares = group_shares(facts.space.pool, found.pairs, found.others)
    shown = [_map(facts, start, found)] if start is not None else []
    shown.append(_prompts(facts, found))
    if len(found.scores):
        shown.append(_scores(found))
    shown.append(_lengths(facts, found))
    if start is not None and facts.fit is not None and len(found.others):
        shown += _margins(facts, start, found)
    if shares is not None:
        shown.append(_groups(shares))
    shows = [one for one in shown if one is not None]
    return Section(
        ID, TITLE, _lead(facts, start), shows, galleries=galleries(facts, start, found, shares)
    )


def _lead(facts: Facts, start: Beginning | None) -> list[Markup]:
    if start is None:
        why = "Its features are no longer there: scores and random pairs cannot be shown."
        return [Markup(why)]
    lead = [
        say(
            "A pair is worth asking by what one label of it still takes off the gap criterion "
            "tr(I M⁻¹) once all others are in: its two completions lie far apart in the {features}, in "
            "a direction that matters to the policy and that other labels leave open.",
            features=term("features"),
        )
    ]
    if any(one.criterion == "adaptive" for one in facts.asked):
        lead.append(
            Markup(
                "A part of an adaptive batch is random, and so are all of the first labels; scores "
                "are at the reference policy, whatever the labels had said by then."
            )
        )
    return lead


def _per_prompt(facts: Facts, pairs: np.ndarray) -> np.ndarray:
    pool = facts.space.pool
    able = ~pool.holdout & (np.diff(pool.starts) >= 2)
    return np.asarray(np.bincount(pool.prompt_of[pairs[:, 0]], minlength=len(able))[able])


def _map(facts: Facts, start: Beginning | None, found: Choice) -> Figure | None:
    assert start is not None
    pool = facts.space.pool
    where = pool_map(pool, start.desk.phi)
    if where is None:
        return None
    counts = np.bincount(pool.prompt_of[found.pairs[:, 0]], minlength=len(pool.prompts))
    mine = counts[where.prompts]
    caption = say(
        "<b>A map of the pool.</b> Each dot is a prompt, by the mean of its completions in the two widest "
        "directions of the features; filled ones were asked about, the larger the more. Words: what "
        "tells one end from the other."
    )
    label = "Map of the prompts. " + str(caption.striptags())
    sides = ("left", "right", "low", "high")
    halves = [where.points[:, 0] < 0, where.points[:, 0] >= 0]
    halves += [where.points[:, 1] < 0, where.points[:, 1] >= 0]
    rows = [
        [
            say("{side}: {words}", side=side, words=words or "no telling words"),
            data(int(half.sum()), "count"),
            data(int((mine[half] > 0).sum()), "count"),
            data(int(mine[half].sum()), "count"),
        ]
        for side, words, half in zip(sides, where.words, halves, strict=True)
    ]
    table = Table(("Half of the map", "Prompts", "Asked about", "Pairs"), rows)
    svg = pool_charts.pool_map(where.points, mine, where.words, label)
    return Figure(svg, caption, table=table)


def _prompts(facts: Facts, found: Choice) -> Figure:
    mine = _per_prompt(facts, found.pairs)
    others = _per_prompt(facts, found.others[: len(found.pairs)])
    caption = say(
        "<b>{some} of {all} {are} asked about</b>; the busiest has {most}."
        + (" Dashes: as many random pairs." if len(found.others) else ""),
        some=data(int((mine > 0).sum()), "count"),
        all=how_many(len(mine), "prompt"),
        are=plural(int((mine > 0).sum()), "is", "are"),
        most=how_many(int(mine.max(initial=0)), "pair"),
    )
    label = "Prompts by number of picked pairs. " + str(caption.striptags())
    given = None if not len(found.others) else others
    groups, heights = figures.prompt_groups(mine, given)
    rows = [
        [name, *(data(column[k], "count") for column in heights)] for k, name in enumerate(groups)
    ]
    head = ("Pairs of one prompt", "Prompts, picked", "Prompts, random")[: 1 + len(heights)]
    return Figure(
        figures.prompt_bars("prompts", mine, given, label), caption, table=Table(head, rows)
    )


def _scores(found: Choice) -> Figure:
    ratio, weakest = float(np.median(found.scores)), float(found.scores.min())
    caption = say(
        "<b>The median picked pair scores {ratio} × the median random one</b>; {share} of random "
        "candidates score as high as the lowest picked.",
        ratio=data(ratio, "number"),
        share=data(float((found.other_scores >= weakest).mean()), "percent"),
    )
    label = "Scores of picked and of random pairs. " + str(caption.striptags())
    axis = "information, random median = 1"
    svg = figures.two_densities("scores", found.scores, found.other_scores, axis, label)
    return Figure(svg, caption, table=_quantiles("Information", found.scores, found.other_scores))


def _quantiles(what: str, mine: np.ndarray, others: np.ndarray) -> Table:
    """A picture of two distributions as numbers."""
    rows = [
        [
            f"{name} of {what.lower()}",
            *(data(float(np.quantile(x, q))) for x in (mine, others) if len(x)),
        ]
        for name, q in (("lowest tenth", 0.1), ("median", 0.5), ("highest tenth", 0.9))
    ]
    head = (what, "Picked", "Random")[: 2 + bool(len(others))]
    return Table(head, rows)


def _lengths(facts: Facts, found: Choice) -> Figure:
    length = facts.space.pool.completions["completion"].str.len_chars().to_numpy()
    length = length.astype(np.float64)
    mine, others = (np.abs(length[p[:, 0]] - length[p[:, 1]]) for p in (found.pairs, found.others))
    typical = float(np.median(mine)) if len(mine) else 0.0
    sentence = "<b>Picked pairs differ in length by {mine} characters</b>"
    sentence += ", random ones by {others} (medians)." if len(others) else " (median)."
    usual = float(np.median(others)) if len(others) else 0.0
    if len(others) and typical > 1.5 * max(usual, 1.0):
        sentence += " Look out for labels that go by length alone."
    caption = say(sentence, mine=data(round(typical), "count"), others=data(round(usual), "count"))
    label = "Differences in length. " + str(caption.striptags())
    axis = "difference in length, characters"
    svg = figures.two_densities("lengths", mine + 1.0, others + 1.0, axis, label)
    return Figure(svg, caption, table=_quantiles("Difference in length", mine, others))


def _margins(facts: Facts, start: Beginning, found: Choice) -> list[Figure]:
    """How sure the latest fit is of picked pairs and of random ones."""
    logits = facts.logits(start.desk.name)
    if logits is None:
        return []
    mine, others = (
        np.abs(logits(start.desk.pairs.differences(rows))) for rows in (found.pairs, found.others)
    )
    typical, usual = float(np.median(mine)), float(np.median(others))
    caption = say(
        "<b>The latest {fit} is {mine} logits sure of the median picked pair</b>, {others} of a random one: "
        "its {margin}, now that the labels are in.",
        fit=term("fit"),
        mine=data(typical, "short"),
        others=data(usual, "short"),
        margin=term("margin"),
    )
    label = "Margins of picked and of random pairs. " + str(caption.striptags())
    svg = figures.two_densities(
        "margins", mine + 1e-3, others + 1e-3, "margin of the latest fit, logits", label
    )
    return [Figure(svg, caption, table=_quantiles("Margin", mine, others))]


def _groups(shares: Shares) -> Figure:
    caption = say(
        "<b>By <code>{column}</code>.</b> Bars: picked pairs"
        + (", marks: random ones." if any(shares.others) else "."),
        column=shares.column,
    )
    rows: list[list[Markup | str]] = [
        [say("{name}", name=name), data(mine, "percent"), data(other, "percent")]
        for name, mine, other in zip(shares.names, shares.mine, shares.others, strict=True)
    ]
    label = "Shares by group. " + str(caption.striptags())
    svg = pool_charts.group_bars(shares.names, shares.mine, shares.others, label)
    return Figure(svg, caption, table=Table(("Value", "Picked", "Random"), rows))
