"""The stages end to end on a small pool, through the command line."""

import inspect
import json
import os
import shlex
import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import datasets
import numpy as np
import pytest

from cli import fails, ok, pool_rows, write_jsonl
from whichpairs.cli.main import STAGES, main
from whichpairs.design.batches.random import random_pairs
from whichpairs.pool.columns import Columns
from whichpairs.pool.pool import pair_id
from whichpairs.report.data.design_curves import standpoint
from whichpairs.report.data.facts import gather
from whichpairs.report.stage import report
from whichpairs.streams import Stream, stream
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.select.batch import batch_message
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import Desk
from whichpairs.workflow.status import status
from whichpairs.workflow.workspace import workspace

pytestmark = pytest.mark.usefixtures("few_draws")

RECIPES = Path(__file__).parents[1] / "recipes"
KEYS = {
    "criterion", "budget", "picked", "candidate_pairs", "beta", "predicted_gap",
    "random_predicted_gap", "labels_random_would_need", "criterion_value", "criterion_bound",
    "criterion_random", "predicted_gap_error", "predicted_saving_error", "certificate",
    "regret_share", "passes", "seconds", "batch_file", "predicted_gap_before", "random_picked",
    "looked_at", "too_far", "worse_than_random", "beyond_approximation",
}  # fmt: skip
ROW = {
    "pair_id", "prompt_id", "prompt", "completion_a", "completion_b", "id_a", "id_b", "weight",
}  # fmt: skip
CRITERIA = [
    "adaptive",
    "signal",
    "gap",
    "random",
    "uniform-prompts",
    "reference",
    "d-optimal",
    "a-optimal",
    "best-vs-worst",
]


@pytest.fixture
def run(tmp_path: Path, capsys) -> Path:
    rows = pool_rows(20, 6)
    rows += rows[:9]  # exact duplicates: counted
    source = write_jsonl(tmp_path / "pool.jsonl", rows)
    run = tmp_path / "run"
    options = ["--score-column", "score", "--holdout", 0.25, "--beta", 0.3]
    found = ok(capsys, "import", source, "--run", run, *options)
    assert (found["prompts"], found["completions"], found["duplicates_merged"]) == (20, 120, 9)
    ok(capsys, "features", "--run", run, "--method", "text", "--dim", 20)
    return run


def test_rows_that_are_not_by_prompt_are_put_together_and_that_is_said(tmp_path: Path) -> None:
    rows = pool_rows(20, 6)
    for name, some in (("as it is", rows), ("mixed", rows[::2] + rows[1::2])):
        source = write_jsonl(tmp_path / f"{name}.jsonl", some)
        said = import_pool(str(source), tmp_path / name, Columns(scores=("score",)))
        assert ("go by pool/completions.parquet" in said.message) == (name == "mixed")
        assert (said.result["moved"] > 0) == (name == "mixed")
        assert "score (a column of the pool)" in status(tmp_path / name).message


def batch_rows(found: dict) -> list[dict]:
    return [json.loads(line) for line in Path(found["batch_file"]).read_text().splitlines()]


def test_labellers_cannot_tell_controls_from_the_others(run: Path, capsys) -> None:
    found = ok(capsys, "select", "--run", run, "--budget", 60, "--controls", 20)
    rows = batch_rows(found)
    assert {key for row in rows for key in row} == ROW
    with workspace(run) as space:
        picked = {row["pair_id"] for row in space.picked("001")}
        held = set(space.pool.prompts.filter(space.pool.prompts["holdout"])["prompt_id"])
    places = [k for k, row in enumerate(rows) if row["prompt_id"] in held]
    assert picked == {row["pair_id"] for row in rows if row["prompt_id"] not in held}
    assert len(places) == 20
    # 20 places of 80: their mean is 39.5 ± 4.5 where they are drawn; at the end it is 69.5.
    assert abs(sum(places) / 20 - 39.5) < 13.5


@pytest.mark.slow
@pytest.mark.parametrize("criterion", CRITERIA)
def test_batches_hold_only_what_may_be_picked(criterion: str, run: Path, capsys) -> None:
    seen: set[str] = set()
    for budget in (30, 25):
        options = ["--score", "score"] if criterion == "best-vs-worst" else []
        command = ["--criterion", criterion, "--budget", budget, "--controls", 5, *options]
        found = ok(capsys, "select", "--run", run, *command)
        assert set(found) >= KEYS
        rows = batch_rows(found)
        assert len(rows) == budget + 5
        with workspace(run) as space:
            held = set(space.pool.prompts.filter(space.pool.prompts["holdout"])["prompt_id"])
        for row in rows:
            assert set(row) >= ROW
            assert row["completion_a"] != row["completion_b"]
        # Until 2026-11 each row said whether it is a control, and these stood last: whoever labels knew.
        assert sum(row["prompt_id"] in held for row in rows) == 5
        ids = {row["pair_id"] for row in rows}
        assert len(ids) == budget + 5
        assert not ids & seen
        seen |= ids
        said = [found[key] for key in ("random_picked", "looked_at", "too_far")]
        learns = {"adaptive": [budget, 0, 0], "signal": [budget, None, None]}  # 4 d = 80
        assert said == learns.get(criterion, [None] * 3)
        ok(capsys, "label", "--run", run, "--simulate", "score")
    certified = criterion in {"adaptive", "gap", "d-optimal", "a-optimal"}
    assert (found["certificate"] is not None) == certified
    assert (found["passes"] > 0) == certified
    assert (found["criterion_bound"] is not None) == certified
    if certified and criterion != "d-optimal":
        assert 0.0 < found["criterion_bound"] <= found["criterion_value"]
        ratio = found["criterion_value"] / found["criterion_bound"]
        assert found["certificate"] == pytest.approx(ratio - 1, abs=1e-9)


@pytest.mark.slow
def test_the_gap_criterion_is_the_plain_formula(run: Path, capsys) -> None:
    found = ok(
        capsys, "select", "--run", run, "--budget", 30, "--controls", 0, "--criterion", "gap"
    )
    with workspace(run) as space:
        _, _, phi = space.feature_set(None)
        pool, beta = space.pool, space.run.beta
        row_of, starts = pool.row_of, pool.starts
        phi = np.asarray(phi, float)
    train = [p for p in range(20) if not pool.holdout[p]]
    covariances, squares = [], []
    for p in train:
        x, w = phi[starts[p] : starts[p + 1]], pool.weight[starts[p] : starts[p + 1]]
        w = w / w.sum()
        covariances.append((x - w @ x).T @ np.diag(w) @ (x - w @ x))
        squares += [(x[i] - x[j]) @ (x[i] - x[j]) for i in range(6) for j in range(i)]
    m = np.eye(phi.shape[1]) * beta**2 * np.mean(squares) / 1.5**2
    for row in batch_rows(found):
        z = phi[row_of[row["id_a"]]] - phi[row_of[row["id_b"]]]
        m += beta**2 / 4 * np.outer(z, z)
    plain = np.trace(np.mean(covariances, axis=0) @ np.linalg.inv(m))
    assert found["criterion_value"] == pytest.approx(plain, rel=1e-8)
    assert found["criterion_bound"] <= plain * (1 + 1e-9)
    assert found["certificate"] == pytest.approx(plain / found["criterion_bound"] - 1, abs=1e-8)
    assert found["criterion_random"] > plain
    share = (plain - found["criterion_bound"]) / (
        found["criterion_random"] - found["criterion_bound"]
    )
    assert found["regret_share"] == pytest.approx(share, rel=1e-6)
    assert found["predicted_gap"] != pytest.approx(beta / 2 * plain, rel=0.05)  # another thing
    assert found["labels_random_would_need"] is None or found["labels_random_would_need"] >= 30


@pytest.mark.slow
def test_one_predicted_gap_wherever_it_is_shown(run: Path, capsys) -> None:
    """In plan, select, loop, status and the report; until 2026-11 there were five meanings of it."""
    planned = ok(capsys, "plan", "--run", run, "--budget", 90)
    picked = ok(capsys, "select", "--run", run, "--budget", 90, "--controls", 0)
    assert picked["random_picked"] == planned["random_picked"] < 90
    for name in ("predicted_gap", "random_predicted_gap", "labels_random_would_need"):
        assert planned[name] == picked[name]
    assert planned["predicted_gap_now"] == picked["predicted_gap_before"]
    gap = f"{picked['predicted_gap']:.4g}"
    for command in (["status"], ["loop", "--budget", 90, "--controls-share", 0]):
        with pytest.raises(SystemExit):
            main([*map(str, command), "--run", str(run)])
        assert gap in capsys.readouterr().out
    report(run)
    assert f'value="{picked["predicted_gap"]!r}"' in (run / "report.html").read_text(
        encoding="utf-8"
    )
    with workspace(run) as space:
        stood = standpoint(space, ("001", space.run.record("batches", "001")))
        assert stood is not None
        assert stood.before == 0
        curve = {n: mean for n, mean, _ in stood.curves((90, 90)).random}
    assert curve[90] == picked["random_predicted_gap"]


@pytest.mark.slow
def test_what_chance_picked_is_predicted_as_chance(run: Path, capsys) -> None:
    planned = ok(capsys, "plan", "--run", run, "--budget", 40)
    found = ok(capsys, "select", "--run", run, "--budget", 40, "--controls", 0)
    assert planned["random_picked"] == found["random_picked"] == 40
    assert found["predicted_gap"] == found["random_predicted_gap"] == planned["predicted_gap"]
    assert found["labels_random_would_need"] == 40


def test_labels_that_came_with_the_pool_count(tmp_path: Path, capsys) -> None:
    rows = [
        {"prompt": f"q{k % 8}", "chosen": f"a fine answer {k}", "rejected": f"bad one {k * 7 % 11}"}
        for k in range(40)
    ]
    gaps = []
    for name, part in (("few", rows[:1] + rows[8:9]), ("many", rows)):
        pool = part + [{"prompt": "x", "chosen": f"c {k}", "rejected": f"r {k}"} for k in range(4)]
        source = write_jsonl(tmp_path / f"{name}.jsonl", pool)
        found = ok(capsys, "import", source, "--run", tmp_path / name, "--holdout", 0.2)
        assert found["labels"] == len(pool)
        ok(capsys, "features", "--run", tmp_path / name, "--method", "text", "--dim", 18)
        command = ["--run", tmp_path / name, "--budget", 1, "--criterion", "gap"]
        gaps.append(ok(capsys, "select", *command)["criterion_value"])
        fitted = ok(capsys, "fit", "--run", tmp_path / name)
        assert fitted["labels"] + fitted["held_out_labels"] == len(pool)
    assert gaps[1] < gaps[0]


@pytest.mark.slow
def test_fit_without_held_out_labels_says_unknown(run: Path, capsys) -> None:
    ok(capsys, "select", "--run", run, "--budget", 40, "--controls", 0)
    ok(capsys, "label", "--run", run, "--simulate", "score")
    assert ok(capsys, "fit", "--run", run)["held_out"] is None
    ok(capsys, "select", "--run", run, "--budget", 5, "--controls", 20)
    ok(capsys, "label", "--run", run, "--simulate", "score")
    found = ok(capsys, "fit", "--run", run)
    assert (found["labels"], found["held_out_labels"]) == (45, 20)
    assert 0 <= found["held_out_accuracy"] <= 1


@pytest.mark.slow
def test_a_batch_brings_its_own_evidence(run: Path, tmp_path: Path, capsys) -> None:
    """By hand as in the loop: a tenth of the labels goes to controls, beside the budget."""
    command = ["select", "--run", run, "--budget", 45]
    found = ok(capsys, *command)
    assert (found["picked"], found["controls"], len(batch_rows(found))) == (45, 5, 50)
    said = batch_message(found)
    assert (
        "(and 5 control pairs of held-out prompts beside them, never fitted; --controls 0" in said
    )
    assert ok(capsys, *command)["done_before"]
    message = fails(capsys, *command, "--controls", 3)
    assert "controls was not given, now 3" in message
    ok(capsys, "label", "--run", run, "--simulate", "score")
    fitted = ok(capsys, "fit", "--run", run)
    assert (fitted["labels"], fitted["held_out_labels"]) == (45, 5)
    explicit = ok(capsys, "select", "--run", run, "--budget", 30, "--controls", 2)
    assert (explicit["controls"], "--controls 0" in batch_message(explicit)) == (2, False)


def test_controls_by_default_are_as_many_as_there_are(tmp_path: Path, capsys) -> None:
    source = write_jsonl(tmp_path / "pool.jsonl", pool_rows(20, 4))
    for holdout, controls in ((0.05, [5, 1, 0]), (0, [0, 0, 0])):  # a prompt has six pairs
        run = tmp_path / f"{holdout}"
        ok(capsys, "import", source, "--run", run, "--holdout", holdout)
        ok(capsys, "features", "--run", run, "--method", "text", "--dim", 18)
        command = ["select", "--run", run, "--budget", 50, "--criterion", "random", "--another"]
        some = [ok(capsys, *command)["controls"] for _ in range(2)]
        few = ok(capsys, "select", "--run", run, "--budget", 4, "--another")["controls"]
        assert [*some, few] == controls


def test_every_next_command_that_status_names_works(run: Path, tmp_path: Path, capsys) -> None:
    blanks = {"N": "12", "OUT": str(tmp_path / "out.jsonl")}
    said = []
    for _ in range(4):
        command = ok(capsys, "status", "--run", run)["next"]
        said.append(command.split()[1])
        command = command.replace("--from FILE (or --simulate COLUMN)", "--simulate score")
        parts = [blanks.get(part, part) for part in shlex.split(command)[1:]]
        if parts[0] == "train":
            break
        ok(capsys, *parts)
    assert said == ["select", "label", "fit", "train"]
    found = ok(capsys, "evaluate", "--run", run, "--score", "score", "--temperature", 2)
    assert found["held_out_prompts"] == 5
    for who in ("reference", "policy"):
        v = {k: x["mean"] for k, x in found[f"{who}_values"].items()}
        assert v["J"] == pytest.approx(v["reward"] - 0.3 * v["kl"])


def test_the_export_is_what_trl_takes(run: Path, tmp_path: Path, capsys) -> None:
    ok(capsys, "select", "--run", run, "--budget", 15, "--controls", 5)
    ok(capsys, "label", "--run", run, "--simulate", "score")
    for name in ("out.jsonl", "out.parquet"):
        found = ok(capsys, "export", tmp_path / name, "--run", run)
        kind = "json" if name.endswith("jsonl") else "parquet"
        loaded = datasets.load_dataset(
            kind, data_files=str(tmp_path / name), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert loaded.column_names == ["prompt", "chosen", "rejected"]
        assert len(loaded) == found["rows"] == 15  # never the controls
        beside = [json.loads(x) for x in Path(found["ids"]).read_text().splitlines()]
        assert all(0 < row["probability"] < 1 for row in beside)
        assert len({row["pair_id"] for row in beside}) == 15


def test_conversations_come_in_and_go_out_as_conversations(tmp_path: Path, capsys) -> None:
    def turn(role: str, text: str) -> dict:
        return {"role": role, "content": text}

    rows = [
        {
            "chosen": [turn("user", f"why {k}?"), turn("assistant", f"because {k}")],
            "rejected": [turn("user", f"why {k}?"), turn("assistant", f"no idea {k}")],
        }
        for k in range(5)
    ]
    source = write_jsonl(tmp_path / "chat.jsonl", rows)
    ok(capsys, "import", source, "--run", tmp_path / "run")
    ok(capsys, "export", tmp_path / "out.jsonl", "--run", tmp_path / "run")
    out = [json.loads(x) for x in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert out[0] == {
        "prompt": [turn("user", "why 0?")],
        "chosen": [turn("assistant", "because 0")],
        "rejected": [turn("assistant", "no idea 0")],
    }


def plain_value(run: Path, asked: list[tuple[str, str]]) -> float:
    """(β/2) tr(I M⁻¹) by plain NumPy, with H₀ and the information of these pairs of completions."""
    with workspace(run) as space:
        _, _, phi = space.feature_set(None)
        pool, beta, row_of = space.pool, space.run.beta, space.pool.row_of
        phi = np.asarray(phi, float)
    covariances, squares = [], []
    for p in np.flatnonzero(~pool.holdout):
        rows = range(pool.starts[p], pool.starts[p + 1])
        x, w = phi[rows], pool.weight[rows] / pool.weight[rows].sum()
        squares += [(a - b) @ (a - b) for a, b in combinations(x, 2)]
        if len(rows) > 1:
            covariances.append((x - w @ x).T @ np.diag(w) @ (x - w @ x))
    m = np.eye(phi.shape[1]) * beta**2 * np.mean(squares) / 1.5**2
    for a, b in asked:
        if not pool.holdout[pool.prompt_of[row_of[a]]]:
            z = phi[row_of[a]] - phi[row_of[b]]
            m += beta**2 / 4 * np.outer(z, z)
    return np.trace(np.mean(covariances, axis=0) @ np.linalg.inv(m))


def ends(found: dict) -> list[tuple[str, str]]:
    return [(row["id_a"], row["id_b"]) for row in batch_rows(found)]


@pytest.mark.slow
def test_labels_and_waiting_pairs_both_count_in_the_next_prediction(run: Path, capsys) -> None:
    gap = ["--criterion", "gap"]
    first = ok(capsys, "select", "--run", run, "--budget", 10, "--controls", 4, *gap)
    assert first["criterion_value"] == pytest.approx(plain_value(run, ends(first)), rel=1e-8)
    ok(capsys, "label", "--run", run, "--simulate", "score")
    second = ok(capsys, "select", "--run", run, "--budget", 7, "--criterion", "random")
    third = ok(capsys, "select", "--run", run, "--budget", 5, "--controls", 0, "--another", *gap)
    assert (second["batch"], third["batch"]) == ("002", "003")
    assert second["criterion_value"] is None  # chance minimises nothing
    plain = plain_value(run, ends(first) + ends(second) + ends(third))
    assert third["criterion_value"] == pytest.approx(plain, rel=1e-8)
    assert third["criterion_bound"] <= plain * (1 + 1e-9)
    assert (
        len({*map(frozenset, ends(first) + ends(second) + ends(third))}) == 27
    )  # five controls among them
    train_pairs = 15 * 15
    assert third["candidate_pairs"] == train_pairs - 10 - 7


def test_imported_pairs_are_labels_with_their_information(tmp_path: Path, capsys) -> None:
    rows = [
        {"prompt": f"q{k % 8}", "chosen": f"a fine answer {k}", "rejected": f"bad one {k * 7 % 11}"}
        for k in range(40)
    ]
    source = write_jsonl(tmp_path / "pairs.jsonl", rows)
    ok(capsys, "import", source, "--run", tmp_path / "run", "--holdout", 0.25)
    ok(capsys, "features", "--run", tmp_path / "run", "--method", "text", "--dim", 18)
    command = ["--run", tmp_path / "run", "--budget", 3, "--criterion", "gap"]
    found = ok(capsys, "select", *command)
    with workspace(tmp_path / "run") as space:
        came = list(space.pool.pairs.select("chosen_id", "rejected_id").iter_rows())
        assert [x.batch for x in space.labels] == ["imported"] * 40
        assert all(
            (x.id_a if x.choice == "a" else x.id_b) in {w for w, _ in came} for x in space.labels
        )
    assert found["criterion_value"] == pytest.approx(
        plain_value(tmp_path / "run", came + ends(found)), rel=1e-8
    )
    assert found["criterion_value"] < 0.99 * plain_value(tmp_path / "run", ends(found))
    assert not {*map(frozenset, came)} & {*map(frozenset, ends(found))}


def test_merged_duplicates_weigh_as_often_as_they_came(run: Path) -> None:
    with workspace(run) as space:
        pool = space.pool
        texts = {r["completion"] for r in pool_rows(20, 6)[:9]}
        for prompt, text, weight in zip(
            pool.prompt_of, pool.completions["completion"], pool.weight, strict=True
        ):
            asked = pool.prompts["prompt"][int(prompt)]
            twice = asked in {"Question 0?", "Question 1?"} and text in texts
            assert weight == (2.0 if twice else 1.0), (asked, text)


def test_every_command_can_speak_json() -> None:
    for name, stage in STAGES.items():
        assert "json_" in inspect.signature(stage.command).parameters, name


def suggestion(found: dict, blanks: dict[str, str]) -> list[list[str]]:
    """The command that status names, and its alternative in brackets, with the blanks filled."""
    text = found["next"]
    assert text.startswith("whichpairs ")
    first, _, other = text.partition(" (or")
    commands = [shlex.split(first)]
    if other.startswith(":"):
        commands.append(shlex.split(other[1:].rstrip(")")))
    elif other:
        blank = other.rstrip(")").split()
        at = commands[0].index("--from")
        commands.append(commands[0][:at] + blank + commands[0][at + 2 :])
    return [[blanks.get(part, part) for part in command[1:]] for command in commands]


@pytest.mark.slow
def test_from_openings_to_a_report_by_the_commands_that_status_names(
    tmp_path: Path, capsys
) -> None:
    """The whole pipeline on a random model of a few thousand parameters; each --json is one line."""
    pytest.importorskip("trl")
    import tiny_models

    run = tmp_path / "a run"
    words = ["The film", "I saw this movie", "It is not", "A café", "The cast", "I wish"]
    prompts = write_jsonl(tmp_path / "openings.jsonl", [{"prompt": w} for w in words])
    model = str(tiny_models.folder())
    generate = ["generate", "--run", run, "--model", model, "--prompts", prompts, "-n", 4]
    generate += ["--max-new-tokens", 6, "--holdout", 0.34, "--beta", 0.4, "--seed", 3]
    blanks = {"PATH": model, "FILE": str(prompts), "N": "5", "OUT": str(tmp_path / "out.jsonl")}
    blanks |= {"COLUMN": "reward", "FOLDER": str(RECIPES / "imdb" / "reward")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "whichpairs.workflow.generate.pool_from_samples", None
        )  # dies before the pool
        with pytest.raises(TypeError):
            main([str(part) for part in generate])
        capsys.readouterr()
    found = ok(capsys, "status", "--run", run)
    assert found["unfinished_pool"]
    [command] = suggestion(found, blanks)
    assert command[0] == "generate"
    made = ok(capsys, *command)
    assert (made["prompts"], made["held_out_prompts"], made["beta"]) == (6, 2, 0.4)
    assert ok(capsys, *generate)["done_before"]

    ok(capsys, "score", "--run", run, "--reward", blanks["FOLDER"])
    gradient = ["features", "--run", run, "--method", "gradient", "--model", model, "--dim", 8]
    ok(capsys, *gradient)
    said = []
    for _ in range(8):
        found = ok(capsys, "status", "--run", run)
        first, *others = suggestion(found, blanks)
        said.append(first[0])
        if first[0] == "label":
            rows = (run / "batches" / "001" / "pairs.jsonl").read_text().splitlines()
            some = [{"pair_id": json.loads(r)["pair_id"], "choice": "b"} for r in rows[:2]]
            first[first.index("--from") + 1] = str(write_jsonl(tmp_path / "answers.jsonl", some))
        if first[0] == "evaluate":
            first += ["--samples", "2"]  # as long as the pool's: the model reads 64 tokens
        for command in (first, *others):
            ok(capsys, *command)
        if first[0] == "report":
            break
    assert said == ["select", "label", "fit", "train", "evaluate", "report"]
    assert (tmp_path / "out.jsonl").exists()
    final = ok(capsys, "status", "--run", run)
    assert (final["labels"], final["waiting"]) == (6, 0)  # one of them a control
    assert [len(final[k]) for k in ("scores", "features", "batches", "fits", "policies")] == [1] * 5
    assert ok(capsys, "train", "--run", run, "--model", model)["done_before"]
    halved = ok(capsys, "train", "--run", run, "--model", model, "--validation", 0.5)
    assert halved["aside"] > 0
    assert halved["labels"] + halved["aside"] == 5
    message = fails(capsys, "label", "--run", run, "--simulate", "rewardd")
    assert "got 'rewardd'; there is reward" in message


def test_the_first_command_is_named_too(tmp_path: Path, capsys) -> None:
    run, source = tmp_path / "run", write_jsonl(tmp_path / "pool.jsonl", pool_rows(4, 3))
    message = fails(capsys, "status", "--run", run)
    command = shlex.split(message.partition("start one with: ")[2])
    ok(capsys, *[str(source) if part == "FILE" else part for part in command[1:]])
    [command] = suggestion(ok(capsys, "status", "--run", run), {})
    ok(capsys, *command)
    shutil.rmtree(run / "pool")  # as a kill between the two leaves it
    shutil.rmtree(run / "features")
    [command] = suggestion(ok(capsys, "status", "--run", run), {"FILE": str(source)})
    assert command[0] == "import"
    ok(capsys, *command)


def test_evaluation_is_not_named_where_nothing_is_held_out(tmp_path: Path, capsys) -> None:
    run, source = tmp_path / "run", write_jsonl(tmp_path / "pool.jsonl", pool_rows(6, 4))
    ok(capsys, "import", source, "--run", run, "--score-column", "score")
    ok(capsys, "features", "--run", run, "--method", "text", "--dim", 18)
    ok(capsys, "select", "--run", run, "--budget", 6)
    ok(capsys, "label", "--run", run, "--simulate", "score")
    ok(capsys, "fit", "--run", run)
    (run / "policies" / "001").mkdir(parents=True)
    shutil.copy(run / "fits" / "001" / "manifest.json", run / "policies" / "001")
    assert ok(capsys, "status", "--run", run)["next"].startswith("whichpairs report")
    assert gather(run, None).next == f"whichpairs plan --run {run}"  # a report does not name itself
    assert "held-out prompts" in fails(capsys, "evaluate", "--run", run, "--score", "score")


# --- adaptive, the default ----------------------------------------------------------------------------


def picked(found: dict) -> set[str]:
    return {row["pair_id"] for row in batch_rows(found)}


def answer(run: Path, tmp_path: Path, capsys, say: Callable[[dict], str], part: int = 1) -> None:
    """Label every `part`-th pair of the latest batch."""
    rows = (run / "batches" / max(os.listdir(run / "batches")) / "pairs.jsonl").read_text()
    lines = [json.loads(line) for line in rows.splitlines()][::part]
    said = [{"pair_id": row["pair_id"], "choice": say(row)} for row in lines]
    ok(capsys, "label", "--run", run, "--from", write_jsonl(tmp_path / "said.jsonl", said))


def coin(row: dict) -> str:
    return "ab"[sum(row["pair_id"].encode()) % 2]


def longer(row: dict) -> str:
    return "a" if len(row["completion_a"]) > len(row["completion_b"]) else "b"


@pytest.mark.parametrize(("budget", "random"), [(50, 50), (80, 80), (100, 89)])
def test_the_first_labels_are_random(budget: int, random: int, run: Path, capsys) -> None:
    with workspace(run) as space:
        pairs = Desk(space, SelectSettings(budget=1)).pairs
        assert 4 * pairs.dim == 80
        rng = stream(space.run.seed, Stream.PICK)
        drawn = random_pairs(pairs, min(budget, 80), rng)
        if budget > 80:  # 0.4 + 1/32 of the rest
            drawn = np.concatenate([drawn, random_pairs(pairs.without(drawn), 9, rng)])
        ids = space.pool.ids
        expected = {pair_id(ids[i], ids[j]) for i, j in drawn.tolist()}
    found = ok(capsys, "select", "--run", run, "--budget", budget, "--controls", 0)
    assert (found["criterion"], found["random_picked"]) == ("adaptive", random)
    assert (found["looked_at"] == 0) == (budget == random)
    assert (picked(found) == expected) == (budget == random)
    assert picked(found) >= expected


def test_designed_pairs_have_bounded_leverage(run: Path, tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "far.npy", rng.standard_normal((120, 5)) * rng.standard_t(2, (120, 1)))
    ok(capsys, "features", "--run", run, "--method", "file", "--file", tmp_path / "far.npy")
    select = ["select", "--run", run, "--features", "file", "--controls", 0]
    first = ok(capsys, *select, "--budget", 20)
    assert first["random_picked"] == 20
    answer(run, tmp_path, capsys, longer)
    with workspace(run) as space:
        pairs = Desk(space, SelectSettings(budget=1, features="file")).pairs
        drawn = random_pairs(pairs, 17, stream(space.run.seed, Stream.PICK, 20))
        phi, pool = np.asarray(space.feature_set("file")[2], float), space.pool
    train = [p for p in range(20) if not pool.holdout[p]]
    every = [c for p in train for c in combinations(range(pool.starts[p], pool.starts[p + 1]), 2)]
    z = np.array([phi[i] - phi[j] for i, j in every])
    inverse = np.linalg.inv(z.T @ z / len(z))
    leverage = {
        pair_id(pool.ids[i], pool.ids[j]): one @ inverse @ one / 5
        for (i, j), one in zip(every, z, strict=True)
    }
    random = {pair_id(pool.ids[i], pool.ids[j]) for i, j in drawn.tolist()}
    left = set(leverage) - random - picked(first)
    found = ok(capsys, *select, "--budget", 40)
    assert (found["random_picked"], found["looked_at"]) == (17, 188)  # 23 of α = 1/32: all left
    assert found["too_far"] == sum(leverage[key] > 2 for key in left) > 0
    assert picked(found) > random
    designed = picked(found) - random
    assert designed <= left
    assert max(leverage[key] for key in designed) <= 2


@pytest.mark.slow
def test_a_random_start_goes_on_where_it_stopped(run: Path, tmp_path: Path, capsys) -> None:
    first = ok(capsys, "select", "--run", run, "--budget", 50, "--controls", 0)
    answer(run, tmp_path, capsys, coin)
    found = ok(capsys, "select", "--run", run, "--budget", 50, "--controls", 0)
    assert found["random_picked"] == 30 + 9  # and 0.4 + 1/32 of the 20 others
    assert not picked(first) & picked(found)
    answer(run, tmp_path, capsys, coin)
    assert ok(capsys, "select", "--run", run, "--budget", 12, "--controls", 0)["random_picked"] == 5


@pytest.mark.slow
def test_before_labels_the_belief_is_the_prior(run: Path, capsys) -> None:
    found = ok(capsys, "select", "--run", run, "--budget", 40, "--controls", 0)
    with workspace(run) as space:
        row_of, beta = space.pool.row_of, space.run.beta
        phi = np.asarray(space.feature_set(None)[2], float)
        space.batches = {}
        desk = Desk(space, SelectSettings(budget=1))
        prior, policy = desk.prior, desk.gap.matrix
    m, plain = prior.copy(), np.linalg.inv(prior)
    for row in batch_rows(found):
        z = phi[row_of[row["id_a"]]] - phi[row_of[row["id_b"]]]
        kappa = (1 + np.pi / 8 * beta**2 * z @ plain @ z) ** -0.5
        m += beta**2 * kappa / 4 * np.outer(z, z)
    value = np.trace(policy @ np.linalg.inv(m))
    assert found["criterion_value"] == pytest.approx(value, rel=1e-8)


def test_the_next_round_uses_the_answers(run: Path, tmp_path: Path, capsys) -> None:
    ok(capsys, "select", "--run", run, "--budget", 80, "--controls", 0)
    batches = []
    for name, say in (("coin", coin), ("again", coin), ("longer", longer)):
        other = shutil.copytree(run, tmp_path / name)
        answer(other, tmp_path, capsys, say)
        found = ok(capsys, "select", "--run", other, "--budget", 12, "--controls", 0)
        assert found["random_picked"] == 5
        batches.append((picked(found), found["predicted_gap_before"]))
    assert batches[0] == batches[1]
    assert batches[0][0] != batches[2][0]
    assert len(batches[0][0] & batches[2][0]) >= 5  # the random ones: answers do not move those
    assert batches[0][1] != batches[2][1]


@pytest.mark.slow
def test_waiting_pairs_are_never_picked_again(run: Path, tmp_path: Path, capsys) -> None:
    first = ok(capsys, "select", "--run", run, "--budget", 90, "--controls", 0)
    answer(run, tmp_path, capsys, coin, part=2)
    assert ok(capsys, "status", "--run", run)["waiting"] == 45
    seen = picked(first)
    for budget, random in ((30, 13), (40, 17), (65, 28)):  # the last takes every pair that is left
        found = ok(capsys, "select", "--run", run, "--budget", budget, "--controls", 0, "--another")
        assert found["random_picked"] == random
        assert found["looked_at"] == 225 - len(seen) - random
        assert len(picked(found)) == budget
        assert not picked(found) & seen
        with workspace(run) as space:  # what waits counts, as if it were labelled
            desk = Desk(space, SelectSettings(budget=1))
            assert len(desk.forecast.known.pending) == 45 + len(seen) - 90 + budget
        seen = seen | picked(found)
    assert len(seen) == 225


@pytest.mark.parametrize(
    ("budget", "looked_at"),
    [(4, 2 * 32), (60, 145 - 26)],  # from a part of the pool, and from all of it
)
@pytest.mark.slow
def test_an_adaptive_batch_does_not_depend_on_threads(
    budget, looked_at, run, tmp_path, capsys
) -> None:
    ok(capsys, "select", "--run", run, "--budget", 80, "--controls", 0)
    answer(run, tmp_path, capsys, longer)
    found = []
    for threads in (1, 3):
        other = shutil.copytree(run, tmp_path / f"{threads}")
        command = ["--run", other, "--budget", budget, "--threads", threads]
        found.append(ok(capsys, "select", *command))
    assert found[0]["looked_at"] == looked_at
    assert batch_rows(found[0]) == batch_rows(found[1])
    same = ("predicted_gap", "criterion_bound", "certificate", "random_predicted_gap", "too_far")
    for key in same:
        assert found[0][key] == found[1][key]


def test_fewer_dimensions_than_asked_come_with_the_reason(tmp_path: Path, capsys) -> None:
    source = write_jsonl(tmp_path / "pool.jsonl", pool_rows(2, 3))
    ok(capsys, "import", source, "--run", tmp_path / "run")
    with pytest.raises(SystemExit):
        main(["features", "--run", str(tmp_path / "run"), "--method", "text", "--dim", "60"])
    said = capsys.readouterr().out
    assert "(60 were asked for; the texts differ in no more directions.)" in said
