"""Labels kept back at import: only what was picked is answered, and nothing else looks at them."""

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cli import fails, ok, tree, write_jsonl
from whichpairs.errors import UserError
from whichpairs.label.agreement import agreements
from whichpairs.pool.columns import Columns
from whichpairs.pool.reading.drawer import DRAWER, read_drawer
from whichpairs.report.data.commands import commands
from whichpairs.report.data.facts import gather
from whichpairs.report.sections.headline import _picked
from whichpairs.workflow.drawer import drawer_of
from whichpairs.workflow.features.settings import FeatureSettings
from whichpairs.workflow.features.stage import compute_features
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.label.stage import label_from_drawer
from whichpairs.workflow.loop.settings import LoopSettings
from whichpairs.workflow.loop.standing import read_standing
from whichpairs.workflow.select.batch import batch_message
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import Desk, select
from whichpairs.workflow.train.teach import said
from whichpairs.workflow.workspace import workspace

pytestmark = pytest.mark.usefixtures("few_draws")

SIDES = ("left", "right")
READ = ("--pair-columns", "left,right", "--label-column", "winner")


def rows() -> list[dict[str, object]]:
    """29 prompts of one pair, and one of five completions of whose ten pairs three have an answer."""
    found = []
    for p in range(29):
        winner = ("left", "right", "tie")[p % 7 % 3]
        p_left = {"left": 0.9, "right": 0.3, "tie": None}[winner]
        texts = {side: f"{side} answer {p}" for side in SIDES}
        found.append({"prompt": f"Question {p}?", **texts, "winner": winner, "probability": p_left})
        found[-1]["annotator"] = "Ann" if p % 2 else None
    for a, b in ((0, 1), (3, 1), (2, 4)):
        texts = {"left": f"text {a}", "right": f"text {b}"}
        found.append({"prompt": "Which?", **texts, "winner": "left", "probability": None})
        found[-1]["annotator"] = None
    return found


def answered() -> set[frozenset[str]]:
    return {frozenset((str(row["left"]), str(row["right"]))) for row in rows()}


def a_run(folder: Path, some: list[dict[str, object]], holdout: float = 0.2) -> Path:
    """A run of these rows with four features a completion, the same for the same text."""
    folder.mkdir(exist_ok=True)
    run, phi = folder / "run", folder / "phi.npy"
    source = write_jsonl(folder / "run.jsonl", some)
    columns = Columns(pair=SIDES, label="winner")
    import_pool(source, run, columns, holdout=holdout, labels="hidden")
    texts = pl.read_parquet(run / "pool" / "completions.parquet")["completion"]
    number = [int.from_bytes(text.encode()[-8:], "big") for text in texts]
    np.save(phi, np.stack([np.random.default_rng(n).normal(size=4) for n in number]))
    compute_features(run, FeatureSettings("file", file=str(phi)))
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pairs picked and three controls, all answered; then some cannot be."""
    run = a_run(tmp_path_factory.mktemp("drawer"), rows())
    select(run, SelectSettings(9, criterion="gap", controls=3))
    return run


def test_candidates_are_the_pairs_with_an_answer(run: Path) -> None:
    with workspace(run) as space:
        assert space.labels == []
        pool = space.pool
        text = pool.completions["completion"].to_list()
        for held in (False, True):
            desk = Desk(space, SelectSettings(1))
            found = desk._pairs(pool.holdout == held)
            there = {
                frozenset((text[i], text[j]))
                for low, high in zip(pool.starts, pool.starts[1:], strict=False)
                for i, j in combinations(range(low, high), 2)
                if found.sizes[pool.prompt_of[i]] and found.not_excluded(np.array([[i, j]]))[0]
            }
            asked = {
                frozenset((r["completion_a"], r["completion_b"]))
                for r in space.batches["001"]
                if pool.holdout[pool.prompt_of[pool.row_of[r["id_a"]]]] == held
            }
            mine = {
                pair
                for pair in answered()
                if pool.holdout[pool.prompt_of[text.index(min(pair))]] == held
            }
            assert there == mine - asked
            assert asked < mine
            assert found.candidates == len(there)
            standing = read_standing(space, None, None)
            assert (standing.free_controls if held else standing.free) == len(there)


def test_what_is_in_it_does_not_choose(tmp_path: Path, run: Path) -> None:
    """The same pairs, every answer another: the same pool, the same first batch."""
    turned = {"left": "right", "right": "tie", "tie": "left"}
    others = [
        {
            "prompt": row["prompt"],
            **{"left": row["right"], "right": row["left"]},
            "winner": turned[str(row["winner"])],
        }
        for row in rows()
    ]
    other = a_run(tmp_path, others)
    select(other, SelectSettings(9, criterion="gap", controls=3))
    batch = Path("batches", "001", "pairs.jsonl")
    assert (other / batch).read_bytes() == (run / batch).read_bytes()
    kept = [read_drawer(one / "pool" / DRAWER)["choice"].to_list() for one in (run, other)]
    assert kept[0] != kept[1]


def test_only_what_was_picked_is_answered(run: Path) -> None:
    """Winners, ties, probabilities and annotators are the file's, whichever stands as A."""
    said = {frozenset((str(row["left"]), str(row["right"]))): row for row in rows()}
    first = label_from_drawer(run)
    with workspace(run) as space:
        text = dict(
            zip(space.pool.ids, space.pool.completions["completion"].to_list(), strict=True)
        )
        asked = [row["pair_id"] for row in space.batches["001"]]
        assert sorted(label.pair_id for label in space.labels) == sorted(asked)
        assert len(asked) == 12
        kinds = set()
        for label in space.labels:
            row = said[frozenset((text[label.id_a], text[label.id_b]))]
            sides = {"a": text[label.id_a], "b": text[label.id_b]}
            assert sides.get(label.choice) == row.get(str(row["winner"]))
            turned = text[label.id_a] != row["left"]
            p = row["probability"]
            if p is None:
                assert label.probability is None
            else:
                assert label.probability == pytest.approx(1 - p if turned else p)
            assert label.annotator == ("drawer:Ann" if row["annotator"] else "drawer")
            kinds.add((label.choice, turned, p is None))
        assert len(kinds) > 4
        assert space.store.sources()["drawer"]["kind"] == "drawer"
        assert space.store.sources()["drawer"]["source"].endswith("run.jsonl")
        there = drawer_of(space)
        assert there is not None
        assert there.recorded() == {"answers": 32, "pairs": 32, "taken": 12, "left": 20}
    assert "12 labels from the drawer" in first.message
    assert "20 of its 32 answers left" in first.message
    before = tree(run)
    again = label_from_drawer(run)
    assert again.done_before
    assert again.message.startswith("Nothing to do")
    assert tree(run) == before


def test_it_is_said_where_labels_came_from(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label_from_drawer(run)
    assert ok(capsys, "status", "--run", run)["drawer"]["left"] == 20
    told = ok(capsys, "export", tmp_path / "out.jsonl", "--run", run)
    assert told["labels_from_drawer"] == 12
    facts = gather(run, None)
    assert "12 of them from the drawer" in _picked(facts).striptags()
    typed = commands(facts.space)
    assert any("--labels hidden" in line for line in typed)
    assert f"whichpairs label --run {run} --from-drawer" in typed


def test_a_loop_answers_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To its end, where no pair with an answer is left; nobody else's pair was asked."""
    run = a_run(tmp_path, rows())
    rounds = ("--rounds", 1, "--criterion", "random")
    waits = ok(capsys, "loop", "--run", run, "--budget", 5, *rounds)
    assert waits["next"] == f"whichpairs label --run {run} --from-drawer"
    assert ok(capsys, "status", "--run", run)["next"] == waits["next"]
    last = ok(capsys, "plan", "--run", run)["curve"][-1]
    with workspace(run) as space:
        assert last["labels"] == read_standing(space, None, None).free
    assert last["ours"] == last["random"]
    found = ok(capsys, "loop", "--run", run, "--budget", 90, "--from-drawer", *rounds)
    assert found["stopped"] == "candidates"
    with workspace(run) as space:
        left = read_standing(space, None, None)
        assert (found["labels"], left.free) == (32 - left.free_controls, 0)
    said = fails(capsys, "select", "--run", run, "--budget", 1)
    assert "every pair of them that has an answer in the drawer" in said
    assert LoopSettings(9, from_drawer=True).options == ("--budget", "9", "--from-drawer")
    both = fails(capsys, "loop", "--run", run, "--budget", 9, "--from-drawer", "--simulate", "x")
    assert "--simulate and --from-drawer" in both


@pytest.mark.slow
def test_further_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Repeats wait for one another; a second file adds, once; a pair of both has two answers."""
    some = rows()[29:]
    run = a_run(tmp_path, [*some, dict(some[0], winner="right"), *rows()[:6]], holdout=0.0)
    extra = write_jsonl(tmp_path / "extra.jsonl", [some[0], dict(some[1], annotator="Bob")])
    import_ = ("--run", run, "--labels", "hidden", *READ)
    told = ok(capsys, "import", extra, *import_)
    assert told["drawer"] == {"answers": 1, "pairs": 0}
    assert told["answers_there"] == 1
    before = tree(run)
    ok(capsys, "import", extra, *import_)
    ok(capsys, "import", tmp_path / "run.jsonl", *import_)
    assert tree(run) == before
    strange = write_jsonl(tmp_path / "strange.jsonl", [dict(some[0], left="new")])
    assert "1 of the 2 completions" in fails(capsys, "import", strange, *import_)
    assert "is settled" in fails(capsys, "import", extra, *import_, "--holdout", 0.5)
    assert tree(run) == before
    with workspace(run) as space:
        free = read_standing(space, None, None).free
    once = shutil.copytree(run, tmp_path / "once")
    ok(capsys, "select", "--run", once, "--budget", free)
    told = ok(capsys, "label", "--run", once, "--from-drawer")
    assert (told["new"], told["waiting"], told["drawer"]["left"]) == (free, 0, 2)
    ok(capsys, "select", "--run", run, "--budget", 2 * free, "--repeats", 2)
    left = ok(capsys, "label", "--run", run, "--from-drawer")
    assert left["waiting"] == 2 * free - left["new"]
    assert "--from FILE" in ok(capsys, "status", "--run", run)["next"]
    with workspace(run) as space:
        who = {}
        for label in space.labels:
            who.setdefault(label.pair_id, []).append(label.annotator)
    assert {name for one in agreements(space.labels) for name in (one.first, one.second)} == set()
    several = [names for names in who.values() if len(names) > 1]
    assert sorted(map(sorted, several)) == [["drawer", "drawer#2"], ["drawer", "drawer2:Bob"]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"probability": 0.2}, "the first is preferred"),
        ({"probability": "often"}, "between 0 and 1"),
        ({"annotator": ["Ann"]}, "a name, in one line, or a number"),
        ({"left": "same", "right": "same"}, "--labels hidden keeps the labels of pairs back"),
    ],
)
def test_what_cannot_be_kept(
    change: dict[str, object],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {"prompt": "Q", "left": "a", "right": "b", **change}
    source = write_jsonl(tmp_path / "one.jsonl", [row])
    import_ = ("--run", tmp_path / "run", "--labels", "hidden", "--pair-columns", "left,right")
    assert said in fails(capsys, "import", source, *import_, "--max-bad", 0)
    assert not (tmp_path / "run").exists()


def test_pairs_that_nobody_answered_are_not_listed_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whichpairs.pool.reading.drawer.MOST_OTHERS", 7)
    a_run(tmp_path, rows())
    monkeypatch.setattr("whichpairs.pool.reading.drawer.MOST_OTHERS", 6)
    prompt = "alone has 5 completions. name what else tells prompts apart"
    with pytest.raises(UserError, match=f"there are 7; prompt .* {prompt}"):
        a_run(tmp_path / "other", rows())


def test_a_run_without(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_jsonl(tmp_path / "one.jsonl", rows()[:4])
    run = tmp_path / "run"
    given = import_pool(source, run, Columns(pair=SIDES, label="winner"))
    assert "to pick a part of these labels" in given.message
    assert "were kept back at import" in fails(capsys, "label", "--run", run, "--from-drawer")
    assert "hidden" in fails(capsys, "import", source, "--run", run, *READ, "--labels", "hidden")
    assert "given or hidden" in fails(capsys, "import", source, "--run", run, "--labels", "x")
    lines = [{"prompt": "Q", "completion": text} for text in "ab"]
    plain = write_jsonl(tmp_path / "plain.jsonl", lines)
    told = fails(capsys, "import", plain, "--run", tmp_path / "new", "--labels", "hidden")
    assert "has none (it was read as completions)" in told
    both = fails(capsys, "label", "--run", run, "--from-drawer", "--simulate", "x")
    assert "got --simulate and --from-drawer" in both


def test_a_probability_alone_says_which_is_preferred(tmp_path: Path, capsys) -> None:
    some = [{"prompt": f"{k}?", "a": "x", "b": "y", "probability": p} for k, p in enumerate((0.9, 0.2, 0.5))]  # fmt: skip
    source, run = write_jsonl(tmp_path / "p.jsonl", some), tmp_path / "run"
    pair = ("--pair-columns", "a,b", "--labels", "hidden")
    message = fails(
        capsys, "import", write_jsonl(tmp_path / "q.jsonl", some[1:2]), "--run", run, *pair
    )
    assert message.endswith("where probability alone does, with --label-column probability\n")
    ok(capsys, "import", source, "--run", run, *pair, "--label-column", "probability")
    text = dict(pl.read_parquet(run / "pool/completions.parquet", columns=["completion_id", "completion"]).iter_rows())  # fmt: skip
    found = [
        (choice, p) if text[a] == "x" else ({"a": "b", "b": "a"}.get(choice, choice), 1.0 - p)
        for _, a, _, choice, _, p in read_drawer(run / "pool" / DRAWER).iter_rows()
    ]
    assert found == [("a", pytest.approx(0.9)), ("b", pytest.approx(0.2)), ("tie", 0.5)]


def test_repeats_beyond_what_the_drawer_has(tmp_path: Path, capsys) -> None:
    run = a_run(tmp_path / "once", rows())
    asked = ("select", "--run", run, "--criterion", "d-optimal", "--controls", "0")
    said = fails(capsys, *asked, "--budget", "6", "--repeats", "2")
    assert said.endswith("got 2, and none has more than 1. leave it out\n")
    assert not (run / "batches").exists()
    other = [row | {"annotator": "Bea"} for row in rows()[:3]]  # three pairs have two answers
    run = a_run(tmp_path / "twice", rows() + other, holdout=0.0)
    asked = ("select", "--run", run, "--criterion", "gap", "--budget", "64", "--repeats", "2")
    found = ok(capsys, *asked)
    assert (found["labels"], found["not_in_drawer"]) == (64, 64 - 35)
    assert "29 labels" in batch_message(found)
    assert ok(capsys, "label", "--run", run, "--from-drawer")["new"] == 35


def test_what_is_taught_may_lie_in_the_drawer_and_is_said() -> None:
    lesson = {"pairs": 5, "chosen_by": "random", "confidence": 0.7, "scale": 1, "label_weight": 1}
    lesson |= {"fit": "001", "pairs_left_out": 0}
    assert "drawer" not in said(lesson)
    assert "; 4 of them have an answer in the drawer, which" in said(lesson | {"in_drawer": 4})


def test_a_batch_that_the_forecast_sees_no_gain_in_says_so(tmp_path: Path, capsys) -> None:
    run = a_run(tmp_path, rows())
    found = ok(capsys, "select", "--run", run, "--budget", "4", "--controls", "0")
    worse = found | {"predicted_gap": 0.3, "predicted_gap_before": 0.2}
    assert "predicted gap 0.3 (0.2 without it: the forecast sees nothing gained" in batch_message(
        worse
    )
    better = found | {"predicted_gap": 0.2, "predicted_gap_before": 0.3}
    assert "predicted gap 0.2 (0.3 without it);" in batch_message(better)
