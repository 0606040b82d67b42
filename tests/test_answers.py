"""Answer files: every shape that people have, whole or not at all, and what is said of them."""

import gzip
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from sklearn.metrics import cohen_kappa_score

from cli import fails, ok, pool_rows, tree, write_jsonl
from whichpairs.label.agreement import agreements
from whichpairs.label.stores.sqlite import SqliteStore
from whichpairs.pool.columns import Columns
from whichpairs.types import Label
from whichpairs.workflow.features.settings import FeatureSettings
from whichpairs.workflow.features.stage import compute_features
from whichpairs.workflow.fit import fit_labels
from whichpairs.workflow.import_pool import import_pool
from whichpairs.workflow.label.stage import label_from_file, label_simulated
from whichpairs.workflow.select.settings import SelectSettings
from whichpairs.workflow.select.stage import select
from whichpairs.workflow.workspace import workspace


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A run with a batch of 40 random pairs."""
    folder = tmp_path_factory.mktemp("answers")
    source = write_jsonl(folder / "pool.jsonl", pool_rows(20, 5))
    import_pool(source, folder / "run", Columns(scores=("score",)), holdout=0.2)
    np.save(folder / "phi.npy", np.random.default_rng(0).standard_normal((100, 3)))
    compute_features(folder / "run", FeatureSettings("file", file=str(folder / "phi.npy")))
    select(folder / "run", SelectSettings(40, "random", controls=0))
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(made, tmp_path / "run"))


def batch(run: Path) -> list[dict]:
    return [json.loads(x) for x in (run / "batches/001/pairs.jsonl").read_text().splitlines()]


def stored(run: Path) -> list[Label]:
    return SqliteStore(run / "labels.sqlite").all()


def csv(rows: list[dict], gap: str = ",") -> str:
    names = list(rows[0])
    return "\n".join([gap.join(names), *(gap.join(str(r[n]) for n in names) for r in rows)]) + "\n"


def studio(rows: list[dict], choices: list, by=1) -> list[dict]:
    """What Label Studio 1.23 exports (shared/formats.md)."""
    tasks = []
    for k, (row, choice) in enumerate(zip(rows, choices, strict=True)):
        data = {"pair_id": row["pair_id"], "answer1": row["completion_a"]}
        data["answer2"] = row["completion_b"]
        one = {"from_name": "pw", "to_name": "answer1,answer2", "type": "pairwise"}
        one["value"] = {"selected": choice}
        done = {"completed_by": by, "result": [one] if choice else []}
        tasks.append({"id": k + 1, "data": data, "annotations": [done], "meta": {}})
    return tasks


WANTED = ["a", "b", "tie", "a"]


def write(case: str, folder: Path, rows: list[dict]) -> Path:
    """The four answers of WANTED in another shape."""
    ids = [row["pair_id"] for row in rows]
    plain = [{"pair_id": i, "choice": c} for i, c in zip(ids, WANTED, strict=True)]
    path = folder / f"answers.{case.partition(' ')[0]}"
    match case:
        case "csv":
            path.write_text(csv(plain))
        case "csv Excel":
            path.write_bytes(("﻿sep=;\r\n" + csv(plain, ";").replace("\n", "\r\n")).encode())
        case "tsv":
            path.write_text(csv(plain, "\t"))
        case "parquet":
            pl.DataFrame(plain).write_parquet(path)
        case "json":
            path.write_text(json.dumps(plain))
        case "jsonl list":
            path.write_text(json.dumps(plain, indent=1))
        case "jsonl.gz":
            path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in plain).encode()))
        case "csv numbers":
            path.write_text(
                csv([r | {"choice": {"a": 1, "b": 2, "tie": 0}[r["choice"]]} for r in plain])
            )
        case "jsonl words":
            words = {"a": "model_a", "b": "model_b", "tie": "tie (bothbad)"}
            write_jsonl(path, [r | {"choice": words[r["choice"]]} for r in plain])
        case "jsonl batch":
            write_jsonl(path, [row | {"choice": c} for row, c in zip(rows, WANTED, strict=True)])
        case "jsonl mirrored ids":
            back = {"a": "b", "b": "a", "tie": "tie"}
            more = zip(plain, rows, strict=True)
            write_jsonl(
                path,
                [
                    r | {"choice": back[r["choice"]], "id_a": x["id_b"], "id_b": x["id_a"]}
                    for r, x in more
                ],
            )
        case "jsonl mirrored texts":
            back = {"a": "right", "b": "left", "tie": "tie"}
            more = zip(plain, rows, strict=True)
            write_jsonl(
                path,
                [
                    r
                    | {"choice": back[r["choice"]], "completion_a": x["completion_b"] + "\n"}
                    | {"completion_b": x["completion_a"]}
                    for r, x in more
                ],
            )
        case "json chances alone":
            path.write_text(
                json.dumps(
                    [
                        {"pair_id": i, "probability": p}
                        for i, p in zip(ids, [0.9, 0.1, 0.5, 1], strict=True)
                    ]
                )
            )
        case "json Studio's choices":
            tasks = studio(rows, ["left", "right", "left", "left"])
            for task, choice in zip(tasks, WANTED, strict=True):
                value = {"choices": ["both_bad" if choice == "tie" else choice]}
                task["annotations"][0]["result"][0] |= {"type": "choices", "value": value}
            path.write_text(json.dumps(tasks))
        case _:
            raise AssertionError(case)
    return path


@pytest.mark.parametrize(
    "case",
    [
        "csv", "csv Excel", "tsv", "parquet", "json", "jsonl list", "jsonl.gz", "csv numbers",
        "jsonl words", "jsonl batch", "jsonl mirrored ids", "jsonl mirrored texts",
        "json chances alone", "json Studio's choices",
    ],
)  # fmt: skip
def test_every_shape_gives_the_same_labels(case: str, run: Path, tmp_path: Path) -> None:
    rows = batch(run)[:4]
    outcome = label_from_file(run, write(case, tmp_path, rows))
    assert outcome.result["read"] == {"first": 2, "second": 1, "ties": 1, "without": 0} or (
        "mirrored" in case
    )
    won = [{"a": x.id_a, "b": x.id_b, "tie": None}[x.choice] for x in stored(run)]
    assert [x.pair_id for x in stored(run)] == [row["pair_id"] for row in rows]
    assert won == [rows[0]["id_a"], rows[1]["id_b"], None, rows[3]["id_a"]]


def test_label_studio_pairs(run: Path, tmp_path: Path, capsys) -> None:
    rows = batch(run)[:5]
    tasks = studio(rows, ["left", "right", None, "left", "left"], {"id": 3, "email": "ann@x.org"})
    tasks[1]["annotations"][0]["result"][0]["to_name"] = (
        "answer2,answer1"  # shown the other way round
    )
    tasks[3]["annotations"][0]["was_cancelled"] = True
    tasks[4]["annotations"].append(tasks[4]["annotations"][0] | {"completed_by": 4})
    path = tmp_path / "p.json"
    path.write_text(json.dumps(tasks))
    found = ok(capsys, "label", "--run", run, "--from", path)
    assert found["read"] == {"first": 3, "second": 1, "ties": 0, "without": 2}
    labels = stored(run)
    assert [x.annotator for x in labels] == ["ann@x.org"] * 3 + ["4"]
    assert [x.pair_id for x in labels] == [rows[k]["pair_id"] for k in (0, 1, 4, 4)]
    assert labels[1].choice == "b"
    assert labels[1].id_b == rows[1]["id_a"]
    for task in tasks:
        del task["data"]["pair_id"]
    path.write_text(json.dumps(tasks))
    assert "task 1 of" not in fails(capsys, "label", "--run", run, "--from", "/nowhere.json")
    assert "must hold pair_id in their data; task 1 of" in fails(
        capsys, "label", "--run", run, "--from", path
    )


def test_rows_without_an_answer_are_counted(run: Path, tmp_path: Path) -> None:
    rows = [
        {"pair_id": row["pair_id"], "choice": c} for row, c in zip(batch(run), "ab", strict=False)
    ]
    rows += [{"pair_id": row["pair_id"], "choice": ""} for row in batch(run)[2:9]]
    path = tmp_path / "half.csv"
    path.write_text(csv(rows))
    outcome = label_from_file(run, path)
    assert len(stored(run)) == 2
    assert "The file: 1 A, 1 B, 0 ties, 7 without an answer (a = A, b = B)." in outcome.message


def test_all_that_is_wrong_is_said_at_once(run: Path, tmp_path: Path, capsys) -> None:
    ids = [row["pair_id"] for row in batch(run)]
    lines = [json.dumps({"pair_id": i, "choice": "a"}) for i in ids[:12]]
    lines[1] = '{"pair_id": "q0", "choice": "a"}'
    lines[3] = "{"
    lines[4] = json.dumps({"pair_id": ids[4], "choice": "a", "probability": 80})
    lines[5] = json.dumps({"pair_id": ids[5], "choice": "b", "probability": 0.9})
    lines[6] = json.dumps({"pair_id": ids[6], "choice": "a", "annotator": [1]})
    lines[7] = "7"
    lines[8] = '{"pair_id": "q1", "choice": "b"}'
    lines[9] = '{"pair_id": ["q1"], "choice": "b"}'
    lines[10] = json.dumps({"pair_id": ids[10], "choice": ["a"]})
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(lines) + "\n")
    before = tree(run)
    said = fails(capsys, "label", "--run", run, "--from", path)
    assert "9 of 12 rows of" in said
    for part in (
        "line 2: a label must answer a pair of one of the run's batches: 'q0' (and line 9, 10 alike)",
        "line 4: the row: ",
        "line 5: probability must be between 0 and 1: 80",
        "line 6: probability is that A is preferred, whatever the choice: 0.9 for 'b' (give 0.1",
        "line 7: annotator must be a name, in one line, or a number: [1]",
        "line 11. Mend",
    ):
        assert part in said, part
    assert "Error" not in said
    assert tree(run) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "q", "label": "a"}\n', "the columns of"),
        ("pair_id,winner\nq,a\n", "must have pair_id and choice"),
        ("", "must hold at least one row"),
        ('{"pair_id": "PAIR", "choice": 0}\n{"pair_id": "PAIR", "choice": 1}\n', "0=a,1=b"),
        ('{"pair_id": "PAIR", "choice": null}\n', "must hold at least one answer"),
    ],
)
def test_files_that_hold_no_answers(text, message, run, tmp_path, capsys) -> None:
    path = tmp_path / ("x.csv" if text.startswith("pair_id,") else "x.jsonl")
    path.write_text(text.replace("PAIR", batch(run)[0]["pair_id"]))
    assert message in fails(capsys, "label", "--run", run, "--from", path)
    assert stored(run) == []


def test_a_doubtful_choice_does_not_hide_other_wrong_rows(
    run: Path, tmp_path: Path, capsys
) -> None:
    ids = [row["pair_id"] for row in batch(run)]
    rows = [{"pair_id": i, "choice": "Z" if i == ids[3] else "a"} for i in ids]
    rows[7]["pair_id"], rows[9]["annotator"] = "q0", "a\nb"
    said = fails(capsys, "label", "--run", run, "--from", write_jsonl(tmp_path / "a.jsonl", rows))
    assert "'Z' (line 4)" in said
    assert "2 other rows cannot be read: line 8:" in said
    assert "line 10: annotator" in said
    assert stored(run) == []


def test_texts_that_are_not_the_pair_s_and_columns_not_read_are_said(run, tmp_path: Path) -> None:
    one, two, three = batch(run)[:3]
    rows = [
        {"pair_id": one["pair_id"], "completion_a": three["completion_a"], "completion_b": "?"},
        {"pair_id": two["pair_id"], "completion_a": two["completion_a"] + " \n"}
        | {"completion_b": two["completion_b"]},
    ]
    path = write_jsonl(tmp_path / "a.jsonl", [r | {"choice": "a", "doubt": 3} for r in rows])
    said = label_from_file(run, path).message
    assert "1 shows other texts than those of the pair (line 1)" in said
    assert "Columns not read: 'doubt'." in said


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"id_a": "id_b", "id_b": "id_a"}, [], "must stand in one order"),
        ({}, ["--annotator", ""], "--annotator must be a name"),
        ({}, ["--annotator", "a\nb"], "--annotator must be a name"),
    ],
)
def test_rows_that_say_two_things(change, options, message, run, tmp_path: Path, capsys) -> None:
    row = batch(run)[0]
    row |= {key: row[other] for key, other in change.items()} | {"choice": "a"}
    path = write_jsonl(tmp_path / "a.jsonl", [row])
    assert message in fails(capsys, "label", "--run", run, "--from", path, *options)


def test_answers_of_another_run_are_called_that(run: Path, tmp_path: Path, capsys) -> None:
    rows = [{"pair_id": f"q{k}", "choice": "a"} for k in range(3)]
    said = fails(capsys, "label", "--run", run, "--from", write_jsonl(tmp_path / "a.jsonl", rows))
    assert "They are of another run" in said


def test_one_annotator_in_several_spellings(run: Path, tmp_path: Path) -> None:
    ids = [row["pair_id"] for row in batch(run)[:2]]
    (tmp_path / "a.csv").write_text(f"pair_id,choice,annotator\n{ids[0]},a,7.0\n{ids[1]},b, 7\n")
    label_from_file(run, tmp_path / "a.csv")
    assert [label.annotator for label in stored(run)] == ["7", "7"]


def test_answers_from_a_pipe_are_read_whole(run: Path, tmp_path: Path) -> None:
    rows = [{"pair_id": row["pair_id"], "choice": "a"} for row in batch(run)]
    os.mkfifo(tmp_path / "pipe")
    text = "".join(json.dumps(row) + "\n" for row in rows)
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(text,), daemon=True)
    writer.start()
    assert label_from_file(run, tmp_path / "pipe").result["new"] == len(rows)


def test_a_map_for_choices(run: Path, tmp_path: Path, capsys) -> None:
    ids = [row["pair_id"] for row in batch(run)]
    rows = [{"pair_id": i, "choice": c} for i, c in zip(ids, [0, 1, 1], strict=False)]
    path = write_jsonl(tmp_path / "x.jsonl", rows)
    found = ok(capsys, "label", "--run", run, "--from", path, "--label-map", "0=a,1=b")
    assert (found["new"], found["read"]["first"], found["read"]["second"]) == (3, 1, 2)
    assert "is for --from" in fails(
        capsys, "label", "--run", run, "--simulate", "score", "--label-map", "0=a"
    )


# --- probabilities --------------------------------------------------------------------------------


def test_a_stated_probability_is_kept_and_fitted(run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = batch(run)
    p = rng.uniform(0.05, 0.95, len(rows)).round(3)
    said = [
        {"pair_id": r["pair_id"], "choice": "a" if x > 0.5 else "b", "probability": x}
        for r, x in zip(rows, p.tolist(), strict=True)
    ]
    for k in range(0, 40, 3):  # shown the other way round
        said[k] |= {"id_a": rows[k]["id_b"], "id_b": rows[k]["id_a"]}
        said[k] |= {"choice": "b" if p[k] > 0.5 else "a", "probability": round(1 - p[k], 3)}
    path = tmp_path / "x.csv"
    path.write_text(csv([{**s, **{n: s.get(n, "") for n in ("id_a", "id_b")}} for s in said]))
    outcome = label_from_file(run, path)
    assert "40 state a probability, which is kept" in outcome.message
    fit = fit_labels(run, strength=1.0)
    with workspace(run) as space:
        votes = space.votes(held_out=False)
        theta = space.theta(fit.result["fit"], "file")
        phi = np.asarray(space.feature_set(None)[2], float)
        beta, kept = space.run.beta, [x.probability for x in space.labels]
        from whichpairs.design import PairSpace, prior

        h0 = prior(PairSpace(phi.astype(np.float32), space.pool.starts, ~space.pool.holdout), beta)
    assert kept == [s["probability"] for s in said]
    z = phi[votes.pairs[:, 0]] - phi[votes.pairs[:, 1]]
    assert sorted(np.where(votes.wins > 0.5, votes.wins, 1 - votes.wins)) == pytest.approx(
        sorted(np.where(p > 0.5, p, 1 - p))
    )
    # At its minimum the gradient of the loss against these very probabilities is 0.
    gradient = beta * z.T @ (expit(beta * z @ theta) - votes.wins) + h0 @ theta
    assert np.abs(gradient).max() < 1e-5


def test_another_probability_is_another_fit(run: Path, tmp_path: Path) -> None:
    row = {"pair_id": batch(run)[0]["pair_id"], "choice": "a"}
    prints = []
    for p in (0.6, 0.9):
        label_from_file(
            run, write_jsonl(tmp_path / "x.jsonl", [row | {"probability": p}]), replace=True
        )
        with workspace(run) as space:
            prints.append(space.labels_fingerprint)
    assert prints[0] != prints[1]


def test_a_simulation_s_own_probability_is_no_vote(run: Path) -> None:
    label_simulated(run, "score", temperature=2.0)
    with workspace(run) as space:
        assert all(x.probability is not None for x in space.labels)
        assert set(space.votes(held_out=False).wins) == {0.0, 1.0}


# --- corrections ----------------------------------------------------------------------------------


def test_a_correction_supersedes_and_nothing_is_erased(run: Path, tmp_path: Path, capsys) -> None:
    ids = [row["pair_id"] for row in batch(run)][:3]

    def give(choices: str, *options: object) -> list[object]:
        rows = [{"pair_id": i, "choice": c} for i, c in zip(ids, choices, strict=True)]
        path = write_jsonl(tmp_path / f"{choices}.jsonl", rows)
        return ["label", "--run", run, "--from", path, "--annotator", 7, *options]

    ok(capsys, *give("aab"))
    with workspace(run) as space:
        print_before = space.labels_fingerprint
    before = tree(run)
    said = fails(capsys, *give("abb"))
    assert f"1 of 3 answers of {tmp_path}/abb.jsonl was already answered otherwise" in said
    assert f"line 2 (7, pair {ids[1]})" in said
    assert "--replace" in said
    assert tree(run) == before
    found = ok(capsys, *give("abb", "--replace"))
    assert (found["new"], found["same"], found["replaced"], found["outdated"]) == (0, 2, 1, 0)
    assert [x.choice for x in stored(run)] == ["a", "b", "b"]
    history = SqliteStore(run / "labels.sqlite").history()
    assert [(x.pair_id, x.choice) for x in history] == [
        (ids[0], "a"), (ids[1], "a"), (ids[1], "b"), (ids[2], "b"),
    ]  # fmt: skip
    with workspace(run) as space:
        assert space.labels_fingerprint != print_before
        assert len(space.pending()) == 37
    again = ok(capsys, *give("abb", "--replace"))
    assert (again["same"], again["replaced"]) == (3, 0)
    old = ok(capsys, *give("aab"))  # what was superseded changes nothing
    assert (old["outdated"], old["same"]) == (1, 2)
    assert [x.choice for x in stored(run)] == ["a", "b", "b"]
    back = ok(capsys, *give("aab", "--replace"))
    assert back["replaced"] == 1
    assert [x.choice for x in stored(run)] == ["a", "a", "b"]
    assert len(SqliteStore(run / "labels.sqlite").history()) == 5


def test_a_file_that_contradicts_itself(run: Path, tmp_path: Path, capsys) -> None:
    key = batch(run)[0]["pair_id"]
    rows = [{"pair_id": key, "choice": c, "annotator": "ann"} for c in "aab"]
    path = write_jsonl(tmp_path / "x.jsonl", rows)
    assert "line 3 (ann, pair" in fails(capsys, "label", "--run", run, "--from", path)
    assert stored(run) == []
    for replaced in (1, 0):  # the last line counts; the same file again changes nothing
        found = ok(capsys, "label", "--run", run, "--from", path, "--replace")
        assert (found["replaced"], [x.choice for x in stored(run)]) == (replaced, ["b"])


def test_another_probability_is_another_answer(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "labels.sqlite")
    one = Label("q", "c1", "c2", "a", "ann", "001", 0.8)
    mirrored = Label("q", "c2", "c1", "b", "ann", "001", 0.2)
    assert store.add([one]) == 1
    assert store.accept([mirrored]).same == 1
    assert store.contradicted([replace(one, probability=0.7)]) == [0]
    store.accept([replace(mirrored, probability=0.3)], replace=True)
    assert store.all() == [Label("q", "c2", "c1", "b", "ann", "001", 0.3)]


def test_a_corrected_label_that_came_with_the_pool_stays_corrected(tmp_path: Path, capsys) -> None:
    rows = [
        {"prompt": "P", "chosen": "x", "rejected": "y"},
        {"prompt": "Q", "chosen": "x", "rejected": "y"},
    ]
    run = tmp_path / "run"
    import_pool(write_jsonl(tmp_path / "p.jsonl", rows), run)
    label = stored(run)[0]
    other = {"a": "b", "b": "a"}[label.choice]
    path = write_jsonl(tmp_path / "x.jsonl", [{"pair_id": label.pair_id, "choice": other}])
    ok(capsys, "label", "--run", run, "--from", path, "--annotator", label.annotator, "--replace")
    with workspace(run) as space:  # which hands the imported labels in again
        assert space.labels[0].choice == other
        assert len(space.labels) == 2


# --- several annotators ---------------------------------------------------------------------------


def test_who_answered_and_how_far_they_agree_is_said(run: Path, tmp_path: Path) -> None:
    ids = [row["pair_id"] for row in batch(run)]
    ann = [{"pair_id": i, "choice": "aab"[k % 3], "annotator": 1} for k, i in enumerate(ids[:30])]
    bob = [{"pair_id": i, "choice": "ab"[k % 2], "annotator": "bob"} for k, i in enumerate(ids[8:])]
    outcome = label_from_file(run, write_jsonl(tmp_path / "x.jsonl", ann + bob))
    both = [(ann[k]["choice"], bob[k - 8]["choice"]) for k in range(8, 30)]
    same = sum(a == b for a, b in both)
    assert outcome.result["annotators"] == {"bob": 32, "1": 30}
    [found] = outcome.result["agreement"]
    assert (found["shared"], found["same"]) == (22, same)
    at = {row["pair_id"]: row["id_a"] < row["id_b"] for row in batch(run)}
    flipped = [
        tuple(x if at[ids[k]] else {"a": "b", "b": "a"}[x] for x in pair)
        for k, pair in zip(range(8, 30), both, strict=True)
    ]
    kappa = cohen_kappa_score(*zip(*flipped, strict=True))
    assert found["kappa"] == pytest.approx(kappa)
    assert (
        f"Labels: 32 by bob, 30 by 1. 1 and bob both answered 22 pairs and agree on {same} "
        f"({100 * same / 22:.0f} %; Cohen's κ {kappa:.2f})."
    ) in outcome.message


def label(key: str, choice: str, who: str) -> Label:
    return Label(key, "c1", "c2", choice, who, "001")


def test_agreement_by_hand() -> None:
    says = {"ann": "ab" * 10 + "tt", "bob": "aa" * 10 + "tt"}
    labels = [
        label(f"q{k}", {"t": "tie"}.get(c, c), who)
        for who, all_ in says.items()
        for k, c in enumerate(all_)
    ]
    [one] = agreements(labels)
    # p_o = 12/22; p_e = (10·20 + 10·0 + 2·2)/22²
    p_e = 204 / 484
    assert (one.first, one.second, one.shared, one.same) == ("ann", "bob", 22, 12)
    assert one.kappa == pytest.approx((12 / 22 - p_e) / (1 - p_e))
    [few] = agreements([x for x in labels if int(x.pair_id[1:]) < 19])
    assert (few.shared, few.kappa) == (19, None)
    assert agreements([x for x in labels if x.annotator == "ann"]) == []
    imported = [replace(x, annotator=f"imported:{x.annotator}") for x in labels]
    assert agreements(imported) == []
    mirrored = [
        replace(x, id_a="c2", id_b="c1", choice={"a": "b", "b": "a", "tie": "tie"}[x.choice])
        if k % 2
        else x
        for k, x in enumerate(labels)
    ]
    assert agreements(mirrored) == [one]


# --- export ---------------------------------------------------------------------------------------


def exported(run: Path, out: Path, capsys, *options: object) -> tuple[dict, list, list]:
    found = ok(capsys, "export", out, "--run", run, *options)
    read = [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in (out, out.with_name(out.name + ".ids.jsonl"))
    ]
    return found, *read


def test_repeated_answers_are_said_or_joined(run: Path, tmp_path: Path, capsys) -> None:
    rows = [row for row in batch(run)]
    with workspace(run) as space:
        held = set(space.pool.prompts.filter(space.pool.prompts["holdout"])["prompt_id"])
    rows = [row for row in rows if row["prompt_id"] not in held][:6]
    said = {"ann": "aab?aa", "bob": "abb??t", "cy": "aab?bt"}
    answers = [
        {"pair_id": row["pair_id"], "choice": {"t": "tie"}.get(c, c), "annotator": who}
        for who, all_ in said.items()
        for row, c in zip(rows, all_, strict=True)
        if c != "?"
    ]
    answers.append(
        {"pair_id": rows[3]["pair_id"], "choice": "b", "annotator": "ann", "probability": 0.2}
    )
    label_from_file(run, write_jsonl(tmp_path / "x.jsonl", answers))
    found, votes, ids = exported(run, tmp_path / "votes.jsonl", capsys)
    assert (len(votes), found["rows"], found["ties_left_out"]) == (13, 13, 2)
    assert (found["pairs"], found["repeated_pairs"], found["contradicted_pairs"]) == (6, 4, 2)
    found, joined, ids = exported(run, tmp_path / "joined.jsonl", capsys, "--join")
    #   aaa → a 1;  aba → a 2/3;  bbb → b 1;  b 0.2 alone → b, 0.2 of a;  a, b → even;  a, t, t → a 2/3
    assert (found["rows"], found["even_pairs_left_out"]) == (5, 1)
    wanted = [(0, "ab"), (1, "ab"), (2, "ba"), (5, "ab"), (3, "ba")]
    by_key = {i["pair_id"]: (i, row) for i, row in zip(ids, joined, strict=True)}
    assert set(by_key) == {rows[k]["pair_id"] for k, _ in wanted}
    shares = {0: 1.0, 1: 2 / 3, 2: 1.0, 5: 2 / 3, 3: 0.8}
    counts = {0: (3, 0, 0), 1: (2, 1, 0), 2: (3, 0, 0), 5: (1, 0, 2)}
    for k, (won, lost) in wanted:
        one, row = by_key[rows[k]["pair_id"]]
        assert row["chosen"] == rows[k][f"completion_{won}"]
        assert row["rejected"] == rows[k][f"completion_{lost}"]
        assert one["probability"] == pytest.approx(shares[k])
        if k in counts:
            names = ("votes", "votes_against", "votes_tied")
            assert tuple(one[name] for name in names) == counts[k]
        else:
            assert "votes" not in one
    from whichpairs.workflow.train.export import export_labels

    message = export_labels(run, tmp_path / "votes.jsonl").message
    assert "4 of 6 pairs have several answers, 2 of them with rows in both directions" in message
    message = export_labels(run, tmp_path / "joined.jsonl", join=True).message
    assert "1 that is evenly split is left out" in message


def test_an_export_of_single_answers_says_nothing_of_repeats(
    run: Path, tmp_path: Path, capsys
) -> None:
    label_simulated(run, "score", temperature=2.0)
    found, votes, ids = exported(run, tmp_path / "a.jsonl", capsys)
    _, joined, joined_ids = exported(run, tmp_path / "b.jsonl", capsys, "--join")
    assert (votes, ids) == (joined, joined_ids)
    assert found["repeated_pairs"] == 0
    assert {key for one in ids for key in one} == {"pair_id", "probability"}


# --- choices by name ------------------------------------------------------------------------------


def test_a_choice_may_be_a_completion_s_id_or_text(run: Path, tmp_path: Path, capsys) -> None:
    rows = batch(run)[:4]
    said = [rows[0]["id_b"], rows[1]["completion_a"] + " ", rows[2]["id_a"], "b"]
    keys = [f" {row['pair_id']}\t" for row in rows]
    answers = [{"pair_id": k, "choice": c} for k, c in zip(keys, said, strict=True)]
    answers[2] |= {"id_a": rows[2]["id_b"], "id_b": rows[2]["id_a"]}  # this row's B
    label_from_file(run, write_jsonl(tmp_path / "a.jsonl", answers))
    won = [label.id_a if label.choice == "a" else label.id_b for label in stored(run)]
    assert won == [rows[0]["id_b"], rows[1]["id_a"], rows[2]["id_a"], rows[3]["id_b"]]
    other = {"pair_id": rows[0]["pair_id"], "choice": rows[1]["id_a"]}
    assert "must say which" in fails(
        capsys, "label", "--run", run, "--from", write_jsonl(tmp_path / "b.jsonl", [other])
    )
