"""The measuring instrument: known truths, fair rules, isotonic savings, resumable rows."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from cli import fails, ok, pool_rows, tree, write_jsonl
from whichpairs.bench.behind import behind
from whichpairs.bench.fingerprint import here
from whichpairs.bench.methods.rank_all import random
from whichpairs.bench.methods.registry import IF_ASKED, METHODS, OURS
from whichpairs.bench.methods.turn import Desk, run
from whichpairs.bench.pools import regimes
from whichpairs.bench.robustness import planner, runner
from whichpairs.bench.robustness.goals import figures, table
from whichpairs.bench.robustness.grid import Cell, Grid, load_grid, user_cells
from whichpairs.bench.robustness.page import write_results
from whichpairs.bench.robustness.summary import (
    Curve,
    Ratio,
    Saving,
    Verdict,
    curves,
    isotonic,
    needed,
    saving,
    together,
)
from whichpairs.design import policy_information
from whichpairs.design.batches.random import random_pairs
from whichpairs.design.estimate.policy import PoolObjective
from whichpairs.design.strategies.adaptive import SIGNAL_SAMPLES, Evidence
from whichpairs.design.strategies.strongest import signal
from whichpairs.errors import UserError
from whichpairs.run.folder import DEFAULT_BETA
from whichpairs.workflow.select.settings import CRITERIA

CELL = Cell("strong", "well-specified", (64, 128, 256), (512,))


def test_the_gradient_of_j_against_finite_differences() -> None:
    rng = np.random.default_rng(0)
    starts = np.array([0, 3, 7, 8])
    judge = PoolObjective(
        rng.standard_normal((8, 3)), starts, rng.standard_normal(8), rng.uniform(0.5, 2, 8)
    )
    theta, step = rng.standard_normal(3), 1e-6
    for k in range(3):
        e = step * np.eye(3)[k]
        slope = (judge.objective(theta + e, 0.7) - judge.objective(theta - e, 0.7)) / (2 * step)
        assert judge.gradient(theta, 0.7)[k] == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", ["weak", "smooth"])
def test_nothing_near_beats_the_best_of_the_class(name: str) -> None:
    world = regimes.draw(name, 3)
    rng = np.random.default_rng(1)
    best = world.objective(world.best)
    for size in (1e-3, 1e-2, 0.1):
        other = world.best + size * rng.standard_normal(world.space.dim)
        assert world.objective(other) <= best + 1e-9
    assert world.regrets(world.everything).mean() >= -1e-9


@pytest.mark.parametrize("name", regimes.WELL_SPECIFIED)
def test_where_the_reward_is_in_the_class_theta_star_is_the_best(name: str) -> None:
    world = regimes.draw(name, 5)
    assert world.begin is not None
    margin = world.beta * (world.space.features.astype(float) @ world.begin)
    assert np.allclose(margin - margin.mean(), world.reward - world.reward.mean(), atol=1e-4)
    # θ* is the best where the judge's prompts are all that counts: J(π*) is reached.
    star = world.judge.objective(world.begin, world.beta)
    assert world.objective(world.best) == pytest.approx(star, abs=1e-6)


def test_margins_have_the_spread_of_their_recipe() -> None:
    for name, recipe in regimes.REGIMES.items():
        world = regimes.draw(name, 0)
        pairs = random_pairs(world.space, 4000, np.random.default_rng(0))
        spread = np.std(world.reward[pairs[:, 0]] - world.reward[pairs[:, 1]])
        # The annotators' mean taste may point along the reward or against it.
        tolerance = 0.3 if recipe.tastes else 0.12
        assert spread == pytest.approx(recipe.spread, rel=tolerance), name


def test_answers_follow_the_reward_and_do_not_depend_on_the_order_shown() -> None:
    world = regimes.draw("strong", 0)
    pairs = random_pairs(world.space, 20_000, np.random.default_rng(0))
    wins = world.answers(pairs, seed=4)
    assert np.array_equal(world.answers(pairs[:, ::-1], seed=4), 1.0 - wins)
    p = 1 / (1 + np.exp(world.reward[pairs[:, 1]] - world.reward[pairs[:, 0]]))
    z = (wins - p).sum() / np.sqrt((p * (1 - p)).sum())
    assert abs(z) < 4
    assert np.mean(world.answers(pairs, seed=5) != wins) > 0.05


def test_coins_ties_and_tastes_are_what_they_say() -> None:
    coins = regimes.draw("coins and ties", 0)
    pairs = random_pairs(coins.space, 20_000, np.random.default_rng(0))
    answers = coins.answers(pairs, 1)
    margin = np.abs(coins.reward[pairs[:, 0]] - coins.reward[pairs[:, 1]])
    assert 0.2 < np.mean(answers[margin < 0.2] == 0.5) < 0.4
    assert np.mean(answers[margin > 4] == 0.5) < np.mean(answers[margin < 0.2] == 0.5)
    tastes = regimes.draw("annotators", 0).labeller.tastes
    assert tastes is not None
    assert tastes.shape[0] == 5
    assert np.allclose(tastes.mean(axis=0), 0.0)


@pytest.mark.slow
def test_a_run_is_deterministic_and_random_shares_its_first_round_with_ours() -> None:
    world = regimes.draw("strong", 0)
    first, again = (run(world, METHODS[OURS], [64, 128], 0) for _ in range(2))
    theirs = run(world, random, [64, 128], 0)
    assert [s.regrets.tolist() for s in first] == [s.regrets.tolist() for s in again]
    assert first[0].regrets.tolist() == theirs[0].regrets.tolist()
    assert first[1].regrets.tolist() != theirs[1].regrets.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["gap", "paper", "signal", "d-optimal", "a-optimal", "trusting", "oracle", OURS]
)
def test_our_own_methods_obey_the_rules(name: str) -> None:
    steps = run(regimes.draw("strong, steep", 1), METHODS[name], [64, 160], 1)
    assert [step.labels for step in steps] == [64, 160]


def test_the_rules_are_enforced() -> None:
    def repeats(desk: Desk, budget: int) -> np.ndarray:
        return np.repeat(random_pairs(desk.space, 1, desk.rng), budget, axis=0)

    def held_out(desk: Desk, budget: int) -> np.ndarray:
        last = len(desk.world.reward)
        return np.stack([np.full(budget, last - 2), np.full(budget, last - 1)], axis=1)

    for cheat in (repeats, held_out):
        with pytest.raises(ValueError, match="distinct candidate pairs"):
            run(regimes.draw("weak", 0), cheat, [10], 0)


def test_labels_needed_are_read_off_the_isotonic_curve() -> None:
    labels = np.array([100, 200, 400, 800])
    regret = np.array([0.8, 0.4, 0.45, 0.1])  # the rise is pooled: 0.425 at 200 and 400
    need, side = needed(
        labels, regret, np.array([0.9, 0.8, 0.6125, 0.425 + 1e-9, 0.2625, 0.1, 0.05])
    )
    assert side.tolist() == [-1, 0, 0, 0, 0, 0, 1]
    assert need[[0, 1, 3, 5, 6]] == pytest.approx([100, 100, 200, 800, 800])
    assert need[2] == pytest.approx(100 * 2**0.5)
    assert need[4] == pytest.approx(400 * 2**0.5)


def test_a_method_with_twice_the_efficiency_saves_half_of_the_labels() -> None:
    labels = np.array([100, 200, 400, 800, 1600])
    rng = np.random.default_rng(0)
    noise = 1 + 0.01 * rng.standard_normal((12, 5, 1))
    theirs = Curve(labels, (100 / labels)[None, :, None] * noise, tuple(range(12)))
    ours = Curve(labels[:4], (50 / labels[:4])[None, :, None] * noise[:, :4], tuple(range(12)))
    one = saving(theirs, ours)
    assert one.ratios == pytest.approx([2, 2, 2], rel=0.05)
    assert one.beyond.tolist() == [0, 0, 0]
    assert one.total.low <= one.mean <= one.total.high
    assert one.total.verdict == Verdict.BETTER
    assert one.harm[0] == pytest.approx(-0.5 * np.ones(4), abs=0.02)
    assert np.all(one.harm[1] <= one.harm[0])
    assert np.all(one.harm[0] <= one.harm[2])


def test_beyond_the_grid_a_saving_is_a_bound() -> None:
    labels = np.array([100, 200])
    theirs = Curve(labels, np.array([[[1.0], [0.9]]] * 3), (0, 1, 2))
    ours = Curve(labels, np.array([[[1.0], [0.1]]] * 3), (0, 1, 2))
    one = saving(theirs, ours)
    assert one.ratios == pytest.approx([1.0])
    assert one.beyond.tolist() == [1]
    assert (one.total.low, one.total.high) == (pytest.approx(1.0), np.inf)
    assert str(one.total) == "≥ 1.00 [1.00, ∞)"
    worse = saving(theirs, Curve(labels, np.array([[[1.0], [1.2]]] * 3), (0, 1, 2)))
    assert (worse.total.low, worse.total.verdict) == (0.0, Verdict.WORSE)
    assert str(worse.total) == "≤ 0.50 [0, 0.50]"


def test_isotonic_by_the_library() -> None:
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((50, 2, 7)) - 0.3 * np.arange(7)
    slow = [[isotonic_regression(v, increasing=False).x for v in one] for one in draws]
    assert isotonic(draws) == pytest.approx(np.array(slow))


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.floats(-1.5, 1.5))
@settings(max_examples=150, deadline=None)
def test_estimate_interval_and_words_never_contradict(seed: int, seeds: int, ahead: float) -> None:
    """Also where most ratios are bounds: the kind of `random is as good … ≥ 5.66 [0.35, 5.66]`."""
    rng = np.random.default_rng(seed)
    labels = np.array([20, 40, 80, 160, 320])
    fall = np.exp(-0.3 * np.arange(5))[None, :, None]
    theirs = fall * np.exp(0.4 * rng.standard_normal((seeds, 5, 1)))
    ours = (fall * np.exp(-ahead + 0.4 * rng.standard_normal((seeds, 5, 1))))[:, :3]
    every = tuple(range(seeds))
    one = saving(Curve(labels, theirs, every), Curve(labels[:3], ours, every), draws=60)
    for ratio in (one.total, together([one, one], at=0), together([one, one])):
        assert ratio.low <= ratio.mean <= ratio.high
        assert ratio.high == np.inf or 1 not in ratio.beyond  # ≥: what is above is not known
        assert ratio.low == 0.0 or -1 not in ratio.beyond
        match ratio.verdict:
            case Verdict.BETTER:
                assert ratio.low > 1
                assert "≤" not in ratio.sign
            case Verdict.WORSE:
                assert ratio.high < 1
                assert "≥" not in ratio.sign
            case Verdict.ALIKE:
                assert 0.8 <= ratio.low <= ratio.high <= 1.25
                assert ratio.sign == ""
            case Verdict.UNKNOWN:
                assert ratio.low <= 1 <= ratio.high
    if seeds == 1:
        assert one.total.verdict == Verdict.UNKNOWN


def test_words_of_the_bench_by_hand() -> None:
    def said(low: float, mean: float, high: float, *beyond: int) -> str:
        ratio = Ratio(mean, frozenset(beyond), low, high)
        return f"{ratio.verdict}: {ratio}"

    assert said(0.35, 5.66, np.inf, 1) == "these seeds do not tell: ≥ 5.66 [0.35, ∞)"
    assert said(1.1, 5.66, np.inf, 1) == "worth it: ≥ 5.66 [1.10, ∞)"
    assert said(0.0, 0.13, 0.4, -1) == "random is better here: ≤ 0.13 [0, 0.40]"
    assert said(0.9, 1.0, 1.1) == "random is as good here: 1.00 [0.90, 1.10]"
    assert said(0.7, 1.0, 1.4) == "these seeds do not tell: 1.00 [0.70, 1.40]"
    assert said(0.0, 1.0, np.inf, 1, -1) == "these seeds do not tell: ? 1.00 [0, ∞)"


def test_names_are_those_of_select() -> None:
    """What both have is called alike; every criterion but those that need a file can be measured."""
    needs_a_file = {"c-optimal", "i-optimal"}
    assert set(CRITERIA) - needs_a_file <= set(METHODS)
    assert not {"whichpairs", "plug-in"} & set(METHODS)
    assert set(IF_ASKED) <= set(METHODS)


def test_signal_in_the_bench_is_the_one_of_select() -> None:
    world = regimes.draw("strong", 0)
    pairs = random_pairs(world.space, 128, np.random.default_rng(0))
    desk = Desk(world, pairs, world.answers(pairs, 0), 0, 1)
    evidence = Evidence(desk.asked, desk.wins, desk.prompts, desk.fit)
    assert evidence.convincing
    picked = METHODS["signal"](desk, 32)
    thetas = desk.belief.samples(SIGNAL_SAMPLES, 0)
    margins = world.beta * desk.candidate_z @ thetas.T
    worth = signal(margins)
    rank = {int(k): r for r, k in enumerate(desk.space.keys(desk.pairs[np.argsort(-worth)]))}
    places = sorted(rank[int(k)] for k in desk.space.keys(np.sort(picked, axis=1)))
    assert places[15] < 400  # half of the strongest of 23 872 pairs, but a prompt gives two …
    assert np.median(places) > 20  # … and half at random


@pytest.mark.slow
def test_rows_are_kept_and_only_what_is_missing_is_run(tmp_path, monkeypatch) -> None:
    grid = Grid((CELL,), seeds=2, ceiling_seeds=1, rival_seeds=1)
    first = runner.run_grid(grid, tmp_path, ["random", "farthest"], processes=1)
    assert len(first) == 2 * 4 + 1 * 3
    parts = sorted(tmp_path.glob("part-*.parquet"))
    more = Grid((CELL,), seeds=3, ceiling_seeds=1, rival_seeds=1)
    asked: list[runner.Job] = []
    real = runner.do
    monkeypatch.setattr(runner, "do", real)
    wanted = [j for j in runner.jobs_of(more, ["random", "farthest"])]
    done = {j.key for j in runner.jobs_of(grid, ["random", "farthest"])}
    asked = [j for j in wanted if j.key not in done]
    assert [(j.method, j.seed) for j in asked] == [("random", 2)]
    second = runner.run_grid(more, tmp_path, ["random", "farthest"], processes=1)
    assert len(second) == len(first) + 4
    assert set(parts) <= set(tmp_path.glob("part-*.parquet"))
    same = second.filter(pl.col("seed") < 2).sort("method", "seed", "labels")
    assert same["regret"].to_list() == first.sort("method", "seed", "labels")["regret"].to_list()


@pytest.mark.slow
def test_rows_of_other_code_are_run_again(tmp_path, monkeypatch) -> None:
    """A method's own: a change of ours leaves the rows of random."""
    code = {"random": "a", "farthest": "b"}
    monkeypatch.setattr(runner, "_code", lambda method, drawn: code[method])
    cell = Cell("strong", "well-specified", (20, 30))
    ran: list[str] = []
    real = runner.run
    monkeypatch.setattr(runner, "run", lambda *a: ran.append("") or real(*a))
    monkeypatch.setattr(runner, "ProcessPoolExecutor", lambda n, **_: ThreadPoolExecutor(n))
    grid = Grid((cell,), seeds=2, ceiling_seeds=1, rival_seeds=1)
    first = runner.run_grid(grid, tmp_path, list(code), processes=1)
    assert len(ran) == 3
    code["farthest"] = "c"
    second = runner.run_grid(grid, tmp_path, list(code), processes=1)
    assert len(ran) == 4
    assert len(first) == len(second) == 6
    assert set(second["code"]) == {"a", "c"}


def test_a_method_s_code_is_its_own() -> None:
    """Another method's module does not make its rows old."""
    ours = runner._code(OURS, True)
    assert ours == runner._code("gap", True) != runner._code("farthest", True)
    assert runner._code("farthest", False) != runner._code("farthest", True)
    files = behind(
        ["whichpairs.bench.methods.rank_all", "whichpairs.bench.methods.turn"], here()
    ).named
    assert "design/strategies/adaptive.py" not in files
    assert "design/solver/frank_wolfe.py" not in files


@pytest.mark.slow
def test_tables_figures_and_pictures_are_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(planner, "SEEDS", 1)
    for module in (runner, planner):
        monkeypatch.setattr(module, "ProcessPoolExecutor", lambda n, **_: ThreadPoolExecutor(n))
    cells = (CELL, Cell("smooth", "misspecified", (64, 128), (256,), left_out=True))
    grid = Grid(cells, seeds=2, ceiling_seeds=1, rival_seeds=1)
    methods = ["random", OURS, "oracle", "trusting", "gap", "farthest", "dts"]
    rows = runner.run_grid(grid, tmp_path / "rows", methods, processes=2)
    kept = tmp_path / "rows"
    results, _ = write_results(rows, grid, tmp_path, command="test", kept=kept)
    names = ["P1", "P2b", "harm", "worse than random", "P3"]
    assert [one.name for one in results] == names
    made = json.loads((tmp_path / "robustness.json").read_text())
    assert list(made["figures"]) == sorted(names)
    assert made["columns"]["all"]["rivals' seeds"].keys() == {OURS, "dts", "farthest", "gap"}
    assert made["by_budget"]["well-specified"].keys() == {"128", "256"}
    text = (tmp_path / "robustness.md").read_text()
    for word in ("P3", "Where random wins", "farthest", "smooth (left out)"):
        assert word in text
    assert (tmp_path / "robustness-savings.png").stat().st_size > 5000
    found = table(rows, cells, draws=20)
    p1 = figures(found, cells, found)[0]
    best = max(one.mean for one in found["strong"].values())
    assert p1.value == pytest.approx(found["strong"][OURS].mean / best)
    plans = {p: p.stat().st_mtime_ns for p in (kept / "planner").iterdir()}
    assert plans  # … and are not made again: by another kind of page, of a pool of one's own
    write_results(rows, grid, tmp_path, command="test", kept=kept, own=True)
    assert plans == {p: p.stat().st_mtime_ns for p in (kept / "planner").iterdir()}


def test_curves_of_one_pool_keep_its_prompts_and_of_many_do_not() -> None:
    rows = pl.DataFrame(
        {
            "cell": ["a"] * 4,
            "method": ["random"] * 4,
            "seed": [0, 0, 1, 1],
            "labels": [1, 2, 1, 2],
            "regret": [1.0, 0.5, 3.0, 1.5],
            "regrets": [[0.0, 2.0], [0.0, 1.0], [2.0, 4.0], [1.0, 2.0]],
        }
    )
    one = curves(rows, Cell("a", "real", (1, 2), run="x"))["random"]
    many = curves(rows, Cell("a", "misspecified", (1, 2)))["random"]
    assert one.regrets.shape == (2, 2, 2)
    assert many.regrets.shape == (2, 2, 1)
    assert one.mean.tolist() == many.mean.tolist() == [2.0, 1.0]


def test_the_committed_grid_is_whole() -> None:
    grid = load_grid(alpaca="RUN")
    names = [cell.name for cell in grid.cells]
    assert len(names) == len(set(names))
    assert {"tabular", *regimes.REGIMES} <= set(names)
    assert {c.name for c in grid.cells if c.left_out} >= {"near-duplicates", "saturating"}
    assert len(load_grid(quick=True).cells) == 3


def test_the_default_beta_is_measured() -> None:
    """On a drawn pool and on the real one: what the tool does where nobody sets β."""
    grid = load_grid(alpaca="RUN")
    assert regimes.draw("default β", 0).beta == DEFAULT_BETA
    real = [c.beta for c in grid.cells if c.group == "real"]
    assert DEFAULT_BETA in real


def test_mistakes_are_one_line(tmp_path) -> None:
    broken = tmp_path / "grid.toml"
    broken.write_text("[synthetic]\nbudgets = 3\n")
    with pytest.raises(UserError, match="a grid is a TOML file"):
        load_grid(broken)
    with pytest.raises(UserError, match="budgets must be two or more"):
        user_cells("run", "score", [1.0], 1.0, [200, 100])


def test_the_planner_s_moments_by_a_slow_twin() -> None:
    cell = Cell("strong", "well-specified", (64, 128))
    first, second = planner.moments(cell, "random", 0)
    world = cell.world(0)
    pairs = random_pairs(world.space, 64, np.random.default_rng([0, 0, 21]))
    z = world.space.differences(pairs)
    p = 1 / (1 + np.exp(-(z @ world.best)))
    m = planner.VAGUE * world.prior + sum(
        w * np.outer(row, row) for w, row in zip(p * (1 - p), z, strict=True)
    )
    information = policy_information(world.space, None, world.best[None])
    assert first.bare == pytest.approx(0.5 * np.trace(information @ np.linalg.inv(m)), rel=1e-6)
    assert (first.labels, second.labels, first.dim) == (64, 128, 16)
    step = run(world, random, [64], 0)[0]
    assert first.found == pytest.approx(step.regrets.mean())


def test_verdicts_are_compared_cell_by_cell() -> None:
    labels = np.array([100, 200])
    nothing = np.zeros((3, 3))

    def of(ratios: list[float]) -> dict[str, Saving]:
        all_ = Ratio(1.0, frozenset(), 1.0, 1.0)
        none = np.zeros(3, dtype=bool)
        one = Saving(labels, np.array(ratios), labels, all_, labels, nothing, none, nothing, 2)
        return {OURS: one}

    table_ = {"a": of([2.0, 1.0]), "b": of([1.5, 1.1])}
    said = [
        planner.Foretold("a", {100: 1.5, 200: 1.5}),  # right, wrong
        planner.Foretold("b", {100: 1.0, 200: 1.0}),  # wrong, right
    ]
    found = planner._verdicts(said, table_)
    assert (found["worth_it_found"], found["not_found"]) == (0.5, 0.5)
    assert found["balanced_accuracy"] == 0.5


def test_predicted_over_realised_is_a_ratio_of_means() -> None:
    rows = [
        planner.Moment("a", "random", 64, 16, 1.0, 2.0, 3.0, 1.0),
        planner.Moment("a", "random", 64, 16, 3.0, 2.0, 3.0, 5.0),
    ]
    assert planner._ratios(rows) == [
        {
            "cell": "a",
            "method": "random",
            "labels": 64,
            "labels_a_dimension": 4.0,
            "bare": 1.0,
            "planned": 1.0,
        }
    ]


@pytest.mark.slow
def test_a_pool_of_one_s_own_by_the_command_line(tmp_path, capsys) -> None:
    rows = pool_rows(30, 6)
    for k, row in enumerate(rows):
        row["score"] = float(np.sin(7.0 * k))
    source, folder = tmp_path / "pool.jsonl", tmp_path / "run"
    write_jsonl(source, rows)
    ok(capsys, "import", source, "--run", folder, "--holdout", 0.3, "--score-column", "score",
       "--beta", 1)  # fmt: skip
    np.save(tmp_path / "phi.npy", np.random.default_rng(0).standard_normal((len(rows), 3)))
    ok(capsys, "features", "--run", folder, "--method", "file", "--file", tmp_path / "phi.npy")
    before = tree(folder)
    arguments = ["bench", tmp_path / "out", "--run", folder, "--score", "score", "--budgets",
                 "20,40", "--methods", "signal,farthest", "--seeds", 2]  # fmt: skip
    found = ok(capsys, *arguments)
    (cell,) = found["labels_saved"]
    assert set(found["labels_saved"][cell]) == {OURS, "signal", "farthest"}
    page = (tmp_path / "out" / "robustness.md").read_text()
    assert "tuned on" not in page
    assert "Where random wins" in page
    assert (tmp_path / "out" / "robustness.md").is_file()
    assert tree(folder) == before
    line = fails(capsys, *arguments[:-2], "--methods", "wishful")
    assert "methods must be among" in line
    assert "two or more, and rise" in fails(capsys, *arguments[:-6], "--budgets", "40,20")
    assert "got --run alone" in fails(capsys, "bench", tmp_path / "x", "--run", folder)


def test_what_is_equal_at_equal_budgets_saves_nothing() -> None:
    """Whatever random's own curve looks like, and however far it goes."""
    labels = np.array([10, 20, 40, 80])
    regrets = np.array([[[1.0], [0.9], [0.95], [0.2]]])
    same = Curve(labels[:3], regrets[:, :3], (0,))
    assert saving(Curve(labels, regrets, (0,)), same, draws=20).ratios.tolist() == [1.0, 1.0]


def test_harm_and_savings_are_paired_by_seed() -> None:
    """Seeds differ tenfold and ours is 10 % better in each: paired, there is no doubt of it."""
    labels = np.array([100, 200])
    worth = np.geomspace(1.0, 10.0, 12)[:, None, None]
    theirs = Curve(labels, worth * np.array([1.0, 0.5])[None, :, None], tuple(range(12)))
    few = Curve(labels, 0.9 * theirs.regrets[6:], tuple(range(6, 12)))
    one = saving(theirs, few, draws=100)
    assert one.harm == pytest.approx(np.full((3, 2), -0.1))
    # 0.45 of 1.0 and 0.5 lies beyond random's last budget, whichever seeds random has besides
    assert one.beyond.tolist() == [1]
    assert one.ratios == pytest.approx([1.0])


def test_annotators_answer_by_their_own_taste() -> None:
    world = regimes.draw("annotators", 0)
    pairs = random_pairs(world.space, 20_000, np.random.default_rng(0))
    gap = world.reward[pairs[:, 0]] - world.reward[pairs[:, 1]]
    wins, p = world.answers(pairs, 3), 1 / (1 + np.exp(-gap))
    surprise = np.mean((wins - p) ** 2) / np.mean(p * (1 - p))
    assert surprise > 1.1  # one taste for all would have 1


@pytest.mark.slow
def test_adaptive_methods_look_at_the_answers() -> None:
    world = regimes.draw("strong", 0)
    pairs = random_pairs(world.space, 128, np.random.default_rng(0))
    answers = world.answers(pairs, 0)
    others = np.random.default_rng(1).permutation(answers)
    for name, looks in (("farthest", False), ("trusting", True), (OURS, True)):
        picks = [METHODS[name](Desk(world, pairs, wins, 0, 1), 32) for wins in (answers, others)]
        assert np.array_equal(*picks) != looks, name
