"""What an evaluation says of a policy, and which evaluations there can be."""

from pathlib import Path

import pytest

from cli import fails, ok, pool_rows, write_jsonl
from whichpairs.evaluate.interval import Interval
from whichpairs.evaluate.verdict import verdict


def between(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, 0.1, low, high)


@pytest.mark.parametrize(
    ("reward", "kl", "gain", "word", "said"),
    [
        ((-0.01, 0.02), (0.0001, 0.0003), (-0.01, 0.02), "did not move", "at most 0.0003 nats"),
        ((-0.01, 0.02), (0.0001, 0.02), (-0.01, 0.02), "no gain shown", "holds 0"),
        ((0.2, 0.6), (1.0, 2.0), (0.1, 0.5), "better", "above 0"),
        ((0.0, 0.2), (7.0, 9.0), (-0.8, -0.6), "worse", "β KL = 0.8, more than its reward rose"),
        ((-0.5, -0.1), (7.0, 9.0), (-1.2, -0.9), "worse", "its reward did not rise"),
    ],
)
def test_a_word_goes_by_the_intervals(reward, kl, gain, word, said) -> None:
    found = verdict(between(*reward), between(*kl), between(*gain), 0.1)
    assert found.word == word
    assert said in found.sentence


def test_one_prompt_says_nothing() -> None:
    alone = Interval(8.0, None, None, None)
    assert verdict(alone, alone, alone, 0.1).word == "unknown"


def test_a_score_evaluates_a_fit_that_is_there_and_once(tmp_path: Path, capsys) -> None:
    source, run = write_jsonl(tmp_path / "pool.jsonl", pool_rows(20, 4)), tmp_path / "run"
    ok(capsys, "import", source, "--run", run, "--score-column", "score", "--holdout", 0.25)
    ok(capsys, "features", "--run", run, "--method", "text", "--dim", 20)
    refused = fails(capsys, "evaluate", "--run", run, "--score", "score")
    assert "needs a fit" in refused
    assert f"run: whichpairs fit --run {run}" in refused
    assert not (run / "evaluations").exists()
    ok(capsys, "select", "--run", run, "--budget", 30, "--criterion", "random")
    ok(capsys, "label", "--run", run, "--simulate", "score")
    fitted = ok(capsys, "fit", "--run", run)
    assert fitted["policy_scale"] > 0
    assert fitted["calibration"]["file"] == "belief.npy"
    found = ok(capsys, "evaluate", "--run", run, "--score", "score")
    assert found["verdict"]["word"] in ("better", "worse", "did not move", "no gain shown")
    drawn = ["evaluate", "--run", run, "--score", "score", "--seed", 9, "--samples", 3]
    assert "--samples and --seed are for --reward or --judge" in fails(capsys, *drawn)
    assert ok(capsys, *drawn[:5])["done_before"]  # it would be the same row twice
    itself = ok(capsys, "evaluate", "--run", run, "--score", "score", "--policy", "reference")
    assert "verdict" not in itself


def test_rows_of_the_report_say_how_completions_were_drawn() -> None:
    from whichpairs.report.sections.gains import _drawn

    one = ("R", 8, 64, 3)
    assert "8" in _drawn(*one)
    assert "seed" in _drawn(*one)
    assert _drawn(*one) != _drawn("R", 8, 64, 4)
    assert _drawn(None, None, None, None) == ""
