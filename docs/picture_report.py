"""The README's picture of the report (`make picture-report`): a run on AlpacaEval, in a browser.

A judge's score stands in for people, so that random pairs can be asked too: the verdict is
measured, whichever way it goes.
"""

import argparse
import tempfile
from pathlib import Path

import polars as pl

from whichpairs.bench.labels.site import browser
from whichpairs.errors import UserError
from whichpairs.pool.reading.read import Columns
from whichpairs.report.stage import report
from whichpairs.workflow.evaluate.stage import EvaluateSettings, evaluate_run
from whichpairs.workflow.features.stage import FeatureSettings, compute_features
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.loop.stage import LoopSettings, loop

PROMPTS, COMPLETIONS, DIM, BUDGET = 300, 12, 24, 600
SCORE, TEMPERATURE = "judge_logit", 4.0
PRICE, SECONDS = 0.8, 45.0
"""Of a label, so that the page has something to say of money and hours."""


def pool_of(source: Path, out: Path) -> None:
    """Some prompts of AlpacaEval with some completions each, the same ones every time."""
    if not source.is_file():
        raise UserError("the picture needs AlpacaEval's completions", f"{source} is not there")
    every = pl.read_parquet(source).filter(pl.col(SCORE).is_finite())
    kept = every["prompt_id"].unique().sort()[:PROMPTS]
    some = every.filter(pl.col("prompt_id").is_in(kept.to_list()))
    some = some.sample(fraction=1.0, shuffle=True, seed=0)
    some = some.group_by("prompt_id", maintain_order=True).head(COMPLETIONS)
    columns = [pl.col("prompt").cast(pl.String), pl.col("completion"), pl.col(SCORE)]
    some.select(*columns, pl.col("dataset").cast(pl.String).alias("topic")).write_parquet(out)


def a_run(source: Path, folder: Path) -> Path:
    """A run to its end, judged; its page is in it."""
    pool, run = folder / "pool.parquet", folder / "alpaca"
    pool_of(source, pool)
    import_pool(pool, run, Columns(scores=(SCORE,)), holdout=0.25)
    compute_features(run, FeatureSettings(method="text", dim=DIM))
    loop(run, LoopSettings(BUDGET, simulate=SCORE, temperature=TEMPERATURE))
    evaluate_run(run, EvaluateSettings(score=SCORE))
    report(run, cost_per_label=PRICE, seconds_per_label=SECONDS)
    return run / "report.html"


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="alpaca_eval_core.parquet")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        page_file = a_run(given.source, Path(name))
        with browser() as chromium:
            page = chromium.new_page(viewport={"width": 1280, "height": 960})
            page.goto(page_file.as_uri())
            page.screenshot(path=str(given.out))


if __name__ == "__main__":
    main()
