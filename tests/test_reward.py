"""Proxy rewards: the linear one against hand computation, the classifier against one forward pass a text."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from whichpairs.errors import UserError
from whichpairs.evaluate.reward import LinearTextReward, load_reward

SHIPPED = Path(__file__).parents[1] / "recipes/imdb/reward"
POSITIVE = ["a good film", "very good acting", "good fun", "a good and very good story"]
NEGATIVE = ["a bad film", "very bad acting", "bad fun", "a bad and very bad story"]
TEXTS, LABELS = POSITIVE + NEGATIVE, [1, 1, 1, 1, 0, 0, 0, 0]


def by_hand() -> LinearTextReward:
    """A reward of three terms with numbers that a person can follow."""
    return LinearTextReward(
        vocabulary=("good", "bad", "very good"),
        idf=np.array([1.0, 1.5, 2.0], dtype=np.float32),
        weights=np.array([3.0, -4.0, 1.0], dtype=np.float32),
        intercept=0.25,
    )


@pytest.fixture(scope="module")
def fitted() -> LinearTextReward:
    return LinearTextReward.fit(TEXTS, LABELS)


class TestLinear:
    def test_score_is_the_normalised_tfidf_times_the_weights(self):
        # "good" twice, "very good" once, "bad" never: v = (1 + ln 2, 0, 2), ‖v‖ = √((1 + ln 2)² + 4).
        v = 1 + math.log(2)
        expected = 0.25 + (3 * v + 1 * 2) / math.sqrt(v * v + 4)
        assert by_hand()(["Very GOOD, a good film!"]) == pytest.approx([expected], rel=1e-12)

    def test_unknown_words_leave_the_intercept_and_no_text_no_score(self):
        assert by_hand()(["", "zebra"]).tolist() == [0.25, 0.25]
        assert by_hand()([]).shape == (0,)

    def test_fit_separates_a_tiny_corpus(self, fitted):
        scores = fitted(TEXTS)
        assert scores.dtype == np.float64
        assert scores[:4].min() > 0 > scores[4:].max()
        weight = dict(zip(fitted.vocabulary, fitted.weights.tolist(), strict=True))
        assert weight["good"] == max(weight.values())
        assert weight["bad"] == min(weight.values())

    def test_fit_agrees_with_scikit_learn(self):
        rng = np.random.default_rng(0)
        words = np.array([f"word{i}" for i in range(30)])
        texts = [" ".join(rng.choice(words, 12)) for _ in range(60)]
        labels = rng.integers(0, 2, 60)
        labels[:2] = 0, 1
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=100)
        model = LogisticRegression(C=2.0, max_iter=1000).fit(
            vectorizer.fit_transform(texts), labels
        )
        fresh = [" ".join(rng.choice(words, 7)) for _ in range(20)]
        reward = LinearTextReward.fit(texts, labels.tolist(), max_features=100, regularisation=2.0)
        expected = model.decision_function(vectorizer.transform(fresh))
        np.testing.assert_allclose(reward(fresh), expected, atol=1e-6)
        assert len(reward.vocabulary) == 100

    def test_sparse_keeps_the_telling_terms_alone(self):
        # A hundred reviews of eight words each: seven by chance, one that agrees with the label.
        rng = np.random.default_rng(0)
        labels = np.arange(100) % 2
        noise = np.array([f"word{i}" for i in range(200)])
        texts = [" ".join([*rng.choice(noise, 7), ("bad", "good")[label]]) for label in labels]
        options = {"regularisation": 1.0, "ngram_range": (1, 1)}
        dense = LinearTextReward.fit(texts, labels.tolist(), **options)
        sparse = LinearTextReward.fit(texts, labels.tolist(), **options, sparse=True)
        weights = dict(zip(sparse.vocabulary, sparse.weights.tolist(), strict=True))
        assert {term for term, weight in weights.items() if weight != 0} == {"good", "bad"}
        assert weights["good"] > 1 > -1 > weights["bad"]
        assert np.count_nonzero(dense.weights) > 100

    def test_a_saved_copy_scores_exactly_alike(self, fitted, tmp_path):
        fitted.save(tmp_path / "new" / "reward")
        copy = load_reward(tmp_path / "new" / "reward")
        texts = [*TEXTS, "a good bad film", "nothing known here"]
        assert copy(texts).tolist() == fitted(texts).tolist()
        assert copy.name == "linear-text"
        stored = np.load(tmp_path / "new" / "reward" / "reward.npy", allow_pickle=False)
        assert stored.dtype == np.float32
        assert stored.shape == (2, len(fitted.vocabulary))

    @pytest.mark.parametrize("labels", [[1] * 8, [1, 0], [0, 1, 2, 0, 1, 2, 0, 1]])
    def test_labels_must_be_zeros_and_ones_one_a_text(self, labels):
        with pytest.raises(UserError, match="1 for positive and 0 for negative"):
            LinearTextReward.fit(TEXTS, labels)

    def test_one_bare_string_is_refused(self, fitted):
        with pytest.raises(UserError, match="got one string"):
            fitted("a good film")

    @pytest.mark.slow
    def test_loading_and_scoring_need_no_torch(self):
        code = (
            "import sys; from whichpairs.evaluate.reward import load_reward;"
            f"load_reward({str(SHIPPED)!r})(['good']); sys.exit('torch' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Touch:
    """An object whose unpickling makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class TestDamaged:
    """A folder is somebody else's file: whatever is wrong with it is one UserError."""

    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        by_hand().save(tmp_path)
        assert load_reward(tmp_path)(["bad"]) == pytest.approx([0.25 - 4.0])
        return tmp_path

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("kind", "other"),
            ("token_pattern", "."),
            ("vocabulary", ["good", "bad"]),
            ("vocabulary", ["good", "good", "bad"]),
            ("vocabulary", ["good", "bad", 3]),
            ("vocabulary", "abc"),
            ("intercept", "high"),
            ("intercept", float("nan")),
            ("ngram_range", [2, 1]),
            ("ngram_range", [1]),
        ],
    )
    def test_settings(self, folder, key, value):
        settings = json.loads((folder / "reward.json").read_text())
        (folder / "reward.json").write_text(json.dumps(settings | {key: value}))
        with pytest.raises(UserError):
            load_reward(folder)

    @pytest.mark.parametrize("text", ["", "{", "[]", "3"])
    def test_settings_that_are_no_record(self, folder, text):
        (folder / "reward.json").write_text(text)
        with pytest.raises(UserError, match="must hold the reward"):
            load_reward(folder)

    @pytest.mark.parametrize(
        "array",
        [
            np.ones((2, 4), dtype=np.float32),
            np.ones((3, 3), dtype=np.float32),
            np.ones((2, 3)),
            np.full((2, 3), np.nan, dtype=np.float32),
        ],
        ids=["terms", "rows", "float64", "nan"],
    )
    def test_arrays(self, folder, array):
        np.save(folder / "reward.npy", array)
        with pytest.raises(UserError):
            load_reward(folder)

    def test_an_array_that_would_run_code_does_not(self, folder):
        victim = folder / "ran"
        np.save(folder / "reward.npy", np.array([Touch(victim)], dtype=object))
        np.load(folder / "reward.npy", allow_pickle=True)
        assert victim.exists()  # the trap works
        victim.unlink()
        with pytest.raises(UserError, match=r"reward\.npy: it is damaged"):
            load_reward(folder)
        assert not victim.exists()

    def test_missing_or_cut_array(self, folder):
        (folder / "reward.npy").write_bytes((folder / "reward.npy").read_bytes()[:60])
        with pytest.raises(UserError, match=r"reward\.npy: it"):
            load_reward(folder)
        (folder / "reward.npy").unlink()
        with pytest.raises(UserError, match=r"reward\.npy: No such file"):
            load_reward(folder)


def test_a_folder_without_a_reward_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="has neither"):
        load_reward(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        load_reward(tmp_path / "absent")


class TestShipped:
    def test_ranks_praise_above_blame(self):
        praise, blame = load_reward(SHIPPED)(
            ["a wonderful, moving film", "a terrible, boring film"]
        )
        assert praise > 2
        assert blame < -2

    def test_model_and_reward_stay_small(self):
        files = [f for part in ("model", "reward") for f in (SHIPPED.parent / part).rglob("*")]
        assert 4_000_000 < sum(f.stat().st_size for f in files if f.is_file()) <= 8_000_000


def tiny_tokenizer(pad: bool = True) -> PreTrainedTokenizerFast:
    """One token a word of the tiny corpus."""
    words = sorted({word for text in TEXTS for word in text.split()})
    core = Tokenizer(
        models.WordLevel(
            {w: i for i, w in enumerate(["<pad>", "<eos>", *words])}, unk_token="<eos>"
        )
    )
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<eos>",
        unk_token="<eos>",
        pad_token="<pad>" if pad else None,
    )


def tiny_classifier(folder: Path, names: list[str]) -> BertForSequenceClassification:
    """A random BERT with these classes, saved with its tokenizer; weights large enough to tell texts apart."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        initializer_range=1.0,
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )
    model = BertForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return model


@torch.no_grad()
def logits_one_by_one(model: torch.nn.Module, texts: list[str]) -> np.ndarray:
    """The plain slow twin: one text, no padding."""
    tokenizer = tiny_tokenizer()
    rows = [
        model(input_ids=torch.tensor([tokenizer(text)["input_ids"]])).logits[0] for text in texts
    ]
    return torch.stack(rows).double().numpy()


class TestClassifier:
    def test_two_classes_give_the_log_odds_of_the_positive_one(self, tmp_path):
        model = tiny_classifier(tmp_path, ["POSITIVE", "NEGATIVE"])
        z = logits_one_by_one(model, TEXTS)
        scores = load_reward(tmp_path)(TEXTS)
        assert scores.dtype == np.float64
        assert scores.std() > 0.1
        np.testing.assert_allclose(scores, z[:, 0] - z[:, 1], atol=1e-5)

    def test_unnamed_classes_mean_that_class_one_is_positive(self, tmp_path):
        model = tiny_classifier(tmp_path, ["LABEL_0", "LABEL_1"])
        z = logits_one_by_one(model, TEXTS)
        np.testing.assert_allclose(load_reward(tmp_path)(TEXTS), z[:, 1] - z[:, 0], atol=1e-5)

    def test_three_classes(self, tmp_path):
        model = tiny_classifier(tmp_path, ["negative", "neutral", "positive"])
        z = logits_one_by_one(model, TEXTS)
        expected = z[:, 2] - logsumexp(z[:, :2], axis=1)
        np.testing.assert_allclose(load_reward(tmp_path)(TEXTS), expected, atol=1e-5)

    def test_three_classes_none_positive(self, tmp_path):
        tiny_classifier(tmp_path, ["x", "y", "z"])
        with pytest.raises(UserError, match='must call one of them "positive"'):
            load_reward(tmp_path)

    def test_one_regression_output_is_the_reward(self, tmp_path):
        model = tiny_classifier(tmp_path, ["score"])
        np.testing.assert_allclose(
            load_reward(tmp_path)(TEXTS), logits_one_by_one(model, TEXTS)[:, 0], atol=1e-5
        )

    def test_long_texts_are_cut_to_the_positions_there_are(self, tmp_path):
        model = tiny_classifier(tmp_path, ["score"])
        expected = logits_one_by_one(model, ["good " * 16])[:, 0]
        np.testing.assert_allclose(load_reward(tmp_path)(["good " * 40]), expected, atol=1e-5)

    def test_a_decoder_without_a_padding_token(self, tmp_path):
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=20,
            n_positions=16,
            n_embd=16,
            n_layer=1,
            n_head=2,
            num_labels=1,
            initializer_range=1.0,
        )
        model = GPT2ForSequenceClassification(config).eval()
        model.save_pretrained(tmp_path)
        tiny_tokenizer(pad=False).save_pretrained(tmp_path)
        expected = logits_one_by_one(model, TEXTS)[:, 0]
        assert expected.std() > 0.1
        np.testing.assert_allclose(load_reward(tmp_path)(TEXTS), expected, atol=1e-5)

    def test_a_language_model_is_refused_rather_than_given_a_random_head(self, tmp_path):
        GPT2LMHeadModel(
            GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
        ).save_pretrained(tmp_path)
        tiny_tokenizer().save_pretrained(tmp_path)
        with pytest.raises(UserError, match="GPT2LMHeadModel"):
            load_reward(tmp_path)

    def test_a_model_without_weights_is_refused(self, tmp_path):
        tiny_classifier(tmp_path / "whole", ["score"])
        (tmp_path / "config.json").write_text((tmp_path / "whole" / "config.json").read_text())
        shutil.rmtree(tmp_path / "whole")
        with pytest.raises(UserError, match="as save_pretrained writes them; it"):
            load_reward(tmp_path)
