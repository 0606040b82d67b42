"""Perplexity and tasks, against sums by hand over the tiny model's next-token distribution."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import tiny_models
from cli import fails, ok, write_jsonl
from test_winrate import add_policy
from whichpairs.errors import UserError
from whichpairs.evaluate.capability import Item, choose, perplexity
from whichpairs.evaluate.interval import bounded_interval, interval, ratio_interval

POLICY, REFERENCE = tiny_models.lm("gpt2", 1), tiny_models.lm("gpt2", 0)
TEXTS = [tiny_models.SENTENCES[0], "A naïve café.", " ".join(tiny_models.SENTENCES[:2]), "It"]
ITEMS = [
    Item("The film is", (" superb", " far from the best that I have ever seen"), 0),
    Item("I saw", (" this movie", " the worst", " it"), 2),
    Item("", ("It", "A naïve café owner"), 1),
    Item("A naïve", (" friend", " café owner finds a naïve friend"), 0),
    Item("I wish that", (" I had slept", " it"), 0),
]


@torch.no_grad()
def log_next(lm, ids: list[int]) -> np.ndarray:
    return lm.model(input_ids=torch.tensor([ids])).logits[0, -1].double().log_softmax(-1).numpy()


def said(lm, start: list[int], ids: list[int]) -> float:
    """log π(ids | start), a token at a time."""
    return sum(log_next(lm, [*start, *ids[:t]])[token] for t, token in enumerate(ids))


def tokens(text: str) -> list[int]:
    return tiny_models.tokenizer()(text)["input_ids"]


def nats(lm, text: str) -> float:
    """Windows of 63 tokens, as the model reads 64, each after the beginning token."""
    ids = tokens(text)
    return -sum(said(lm, [0], ids[at : at + 63]) for at in range(0, len(ids), 63))


def test_nats_a_token_by_hand() -> None:
    got = perplexity(POLICY, REFERENCE, [*TEXTS, ""])
    sizes = np.array([len(tokens(t)) for t in TEXTS], dtype=float)
    assert sizes.max() > 63 > sizes.min()
    ours, theirs = (np.array([nats(lm, t) for t in TEXTS]) for lm in (POLICY, REFERENCE))
    assert (got.documents, got.tokens) == (4, int(sizes.sum()))
    assert got.nats.policy.mean == pytest.approx(ours.sum() / sizes.sum(), rel=1e-5)
    assert got.nats.reference.mean == pytest.approx(theirs.sum() / sizes.sum(), rel=1e-5)
    gap = (ours - theirs).sum() / sizes.sum()
    assert got.nats.difference.mean == pytest.approx(gap, rel=1e-4)
    left = (ours - theirs) - gap * sizes
    error = np.sqrt(4 / 3 * np.sum(left**2)) / sizes.sum()
    assert got.nats.difference.standard_error == pytest.approx(error, rel=1e-4)
    half = stats.t.ppf(0.975, 3) * error
    assert got.nats.difference.high == pytest.approx(gap + half, rel=1e-3)


def test_the_reference_costs_nothing() -> None:
    got = perplexity(REFERENCE, REFERENCE, TEXTS)
    assert (got.nats.difference.mean, got.nats.difference.standard_error) == (0.0, 0.0)
    same = choose(REFERENCE, REFERENCE, ITEMS)
    assert same.accuracy.difference.mean == same.normalised.difference.mean == 0.0


def test_a_ratio_of_equal_sizes_is_a_mean() -> None:
    values = np.array([1.0, 4.0, 2.0, 7.0])
    assert ratio_interval(3 * values, np.full(4, 3.0)) == pytest.approx(interval(values))
    assert ratio_interval(values[:1], np.array([2.0])).low is None


def test_the_ratio_covers_as_often_as_it_says() -> None:
    """95 % intervals of clusters with uneven sizes hold the truth about 95 times in 100."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        sizes = rng.integers(5, 40, 60).astype(float)
        totals = sizes * 2.0 + np.sqrt(sizes) * rng.standard_normal(60)
        found = ratio_interval(totals, sizes)
        inside += found.low < 2.0 < found.high
    assert 0.935 < inside / 2000 < 0.965


def test_accuracy_by_hand() -> None:
    got = choose(POLICY, REFERENCE, ITEMS)
    right = {}
    for who, lm in (("policy", POLICY), ("reference", REFERENCE)):
        for normalised in (False, True):
            found = []
            for item in ITEMS:
                start = tokens(item.context) or [0]
                scores = [
                    said(lm, start, tokens(c)) / (len(c.encode()) if normalised else 1)
                    for c in item.choices
                ]
                found.append(float(np.argmax(scores) == item.answer))
            right[who, normalised] = np.array(found)
    for normalised, paired in ((False, got.accuracy), (True, got.normalised)):
        ours, theirs = right["policy", normalised], right["reference", normalised]
        assert paired.policy == bounded_interval(ours)
        assert paired.reference == bounded_interval(theirs)
        assert paired.difference == bounded_interval(ours - theirs, -1.0, 1.0)
    assert got.items == 5
    plain, by_bytes = right["policy", False], right["policy", True]
    assert not np.array_equal(plain, by_bytes)  # the two ways are two ways
    assert 0 < plain.sum() < 5


def test_other_tokens_are_refused() -> None:
    class Other:
        def get_vocab(self) -> dict[str, int]:
            return {"a": 0}

    with pytest.raises(UserError, match="models of one tokenizer"):
        perplexity(replace(POLICY, tokenizer=Other()), REFERENCE, TEXTS)
    with pytest.raises(UserError, match="not empty"):
        perplexity(POLICY, REFERENCE, [""])


@pytest.fixture
def run(tmp_path: Path, capsys) -> Path:
    rows = [{"prompt": f"P{p}", "completion": c} for p in range(2) for c in ("good", "bad")]
    ok(capsys, "import", write_jsonl(tmp_path / "pool.jsonl", rows), "--run", tmp_path / "run")
    return tmp_path / "run"


def test_through_the_command_line(run: Path, tmp_path: Path, capsys) -> None:
    items = [{"context": i.context, "choices": i.choices, "answer": i.answer} for i in ITEMS]
    tasks = write_jsonl(tmp_path / "tasks.jsonl", items)
    texts = write_jsonl(tmp_path / "texts.jsonl", [{"text": t} for t in TEXTS])
    lines = tmp_path / "texts.txt"
    lines.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    evaluate = ["evaluate", "--run", run, "--device", "cpu"]
    assert "needs a trained policy" in fails(capsys, *evaluate, "--tasks", tasks)
    add_policy(run, "001", POLICY)
    found = ok(capsys, *evaluate, "--tasks", tasks, "--perplexity", texts)
    want = perplexity(POLICY, REFERENCE, TEXTS).nats
    assert found["perplexity"]["nats"]["difference"]["mean"] == pytest.approx(want.difference.mean)
    accuracy = choose(POLICY, REFERENCE, ITEMS).accuracy
    assert found["tasks"]["accuracy"]["difference"]["low"] == pytest.approx(accuracy.difference.low)
    assert ok(capsys, *evaluate, "--tasks", tasks, "--perplexity", texts)["done_before"]
    alone = ok(capsys, *evaluate, "--perplexity", lines)
    assert alone["perplexity"] == found["perplexity"]
    assert "tasks" not in alone
    assert ok(capsys, "status", "--run", run)["capabilities"] == ["001", "002"]
    turned = ok(capsys, *evaluate, "--perplexity", lines, "--policy", "reference", "--against",
                "001")  # fmt: skip
    assert turned["perplexity"]["nats"]["difference"]["mean"] == pytest.approx(
        -want.difference.mean
    )


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"context": "a", "choices": ["b"], "answer": 0}',
        '{"context": "a", "choices": ["b", ""], "answer": 0}',
        '{"context": "a", "choices": ["b", "c"], "answer": 2}',
        '{"context": "a", "choices": ["b", "c"], "answer": true}',
        '{"context": 1, "choices": ["b", "c"], "answer": 0}',
    ],
)
def test_tasks_that_are_none(line: str, run: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "tasks.jsonl"
    good = json.dumps({"context": "a", "choices": ["b", "c"], "answer": 1})
    path.write_text(f"{good}\n\n{line}\n", encoding="utf-8")
    assert f"line 3 of {path} is not" in fails(capsys, "evaluate", "--run", run, "--tasks", path)


def test_tasks_that_are_no_text(run: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "tasks.jsonl").write_bytes(b"\xff\xfe\n")
    command = ["evaluate", "--run", run, "--tasks", tmp_path / "tasks.jsonl"]
    assert "line 1 of" in fails(capsys, *command)


def test_chats_have_no_perplexity(run: Path, tmp_path: Path, capsys) -> None:
    rows = [{"text": [{"role": "user", "content": "a"}]}]
    path = write_jsonl(tmp_path / "chats.jsonl", rows)
    assert "plain texts" in fails(capsys, "evaluate", "--run", run, "--perplexity", path)
