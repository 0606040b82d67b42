"""Sampling, against token-by-token twins, hand-made races and exact distributions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import tiny_models
from tiny_models import EOS
from whichpairs.errors import UserError
from whichpairs.generate.transformers import Sampling, sample
from whichpairs.lm import sampler
from whichpairs.lm.encode import Encoded, encode, encode_prompt
from whichpairs.lm.gumbel import may_draw, pick
from whichpairs.lm.logprobs import completion_logprobs
from whichpairs.types import Example

PROMPTS = ["", "The film", "I saw this movie on a Sunday", "It", "The film"]
SAMPLING = Sampling(5, 12)


def one_by_one(lm, prompt, sampling, seed, index, k):
    """One completion: full passes of one sequence, and the noise drawn as documented."""
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence((seed, index, k))))
    ids, total = list(encode_prompt(lm.tokenizer, prompt)), 0.0
    start = len(ids)
    for _ in range(sampling.max_new_tokens):
        logits = lm.model(input_ids=torch.tensor([ids])).logits[0, -1].double().numpy()
        race = logits / sampling.temperature - np.log(rng.standard_exponential(len(logits)))
        token = int(np.argmax(race))
        total += logits[token] - np.logaddexp.reduce(logits)
        ids.append(token)
        if token == 0:
            break
    return ids[start:], total


def test_samples_are_those_drawn_one_by_one():
    lm = tiny_models.lm()
    sampling = Sampling(4, 10, temperature=0.8)
    drawn = sampler.draw(
        lm,
        [encode_prompt(lm.tokenizer, p) for p in PROMPTS],
        sampling,
        seed=3,
        indices=[7, 0, 2, 9, 4],
    )
    for prompt, index, many in zip(PROMPTS, [7, 0, 2, 9, 4], drawn, strict=True):
        for k, one in enumerate(many):
            ids, logprob = one_by_one(lm, prompt, sampling, 3, index, k)
            assert list(one.ids) == ids
            assert one.finished == (ids[-1] == 0)
            assert one.logprob == pytest.approx(logprob, abs=1e-4)


def test_a_prompt_does_not_feel_its_neighbours():
    lm = tiny_models.lm()
    whole = sample(lm, PROMPTS, SAMPLING, seed=1)
    again = sample(lm, PROMPTS[::-1], SAMPLING, seed=1, indices=[4, 3, 2, 1, 0], batch_size=7)
    part = sample(lm, [PROMPTS[2]], SAMPLING, seed=1, indices=[2], batch_size=2)
    for a, b in zip([*whole, whole[2]], [*again[::-1], part[0]], strict=True):
        assert [x.text for x in a] == [x.text for x in b]
        np.testing.assert_allclose([x.logprob for x in a], [x.logprob for x in b], rtol=1e-5)
    assert whole[1] != whole[4]  # one prompt twice, two indices
    assert whole[0] != sample(lm, [""], SAMPLING, seed=2)[0]
    more = sample(lm, [PROMPTS[2]], Sampling(9, 12), seed=1, indices=[2])
    assert [x.text for x in more[0][:5]] == [x.text for x in whole[2]]


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("llama", {}),
        ("gpt2", {"top_p": 0.7}),
        ("gpt_neox", {"top_k": 5}),
        ("llama", {"top_k": 9, "top_p": 0.8}),
        ("gemma3", {"max_new_tokens": 36, "n": 1}),  # beyond its sliding window
    ],
)
def test_a_token_in_doubt_is_decided_by_the_sequence_alone(monkeypatch, kind, rule):
    lm = tiny_models.lm(kind)
    sampling = Sampling(**{"n": 2, "max_new_tokens": 8, "temperature": 1.3, **rule})
    usual = sample(lm, PROMPTS, sampling, seed=5)
    calls = []
    alone = sampler._Batch._alone
    monkeypatch.setattr(sampler, "TOLERANCE", 1e9)  # now every token is in doubt
    monkeypatch.setattr(sampler._Batch, "_alone", lambda *a: calls.append(1) or alone(*a))
    slow = sample(lm, PROMPTS, sampling, seed=5)
    assert [[x.text for x in many] for many in usual] == [[x.text for x in many] for many in slow]
    assert len(calls) == sum(x.tokens for many in slow for x in many)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [({}, 320), ({"temperature": 0.5}, 320), ({"top_k": 4}, 4), ({"top_p": 0.3}, None)],
)
def test_first_tokens_come_with_their_probabilities(rule, kept):
    lm = tiny_models.lm()
    n = 3000
    prompt = encode_prompt(lm.tokenizer, "The film")
    logits = lm.model(input_ids=torch.tensor([prompt])).logits[0, -1].double().numpy()
    p = np.exp(logits / rule.get("temperature", 1.0))
    p /= p.sum()
    order = np.argsort(-p)
    if kept is None:  # the smallest set that holds 0.3
        kept = int(np.searchsorted(np.cumsum(p[order]), 0.3)) + 1
    p[order[kept:]] = 0.0
    p /= p.sum()
    ((*drawn,),) = sampler.draw(lm, [prompt], Sampling(n, 1, **rule), seed=0, batch_size=1000)
    counts = np.bincount([d.ids[0] for d in drawn], minlength=320)
    assert counts[p == 0].sum() == 0
    common = p * n >= 5
    observed = [*counts[common], counts[~common].sum()]
    expected = [*(p[common] * n), p[~common].sum() * n]
    if expected[-1] < 1e-9:
        observed, expected = observed[:-1], expected[:-1]
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_logprobs_and_ends_are_those_of_the_tokens():
    lm = tiny_models.lm()
    prompts = [encode_prompt(lm.tokenizer, p) for p in PROMPTS]
    drawn = sampler.draw(lm, prompts, Sampling(20, 40), seed=0)
    flat = [(Encoded(p, d.ids), d) for p, many in zip(prompts, drawn, strict=True) for d in many]
    want = completion_logprobs(lm, [e for e, _ in flat])
    np.testing.assert_allclose([d.logprob for _, d in flat], want, rtol=1e-5)
    ends = [d.finished for _, d in flat]
    assert 0.02 < np.mean(ends) < 0.98
    for _, d in flat:
        assert 0 not in d.ids[:-1]
        assert d.finished == (d.ids[-1] == 0)
        assert d.finished or len(d.ids) == 40


def test_samples_tell_text_tokens_and_whether_the_text_has_these_tokens():
    lm = tiny_models.lm()
    drawn = sampler.draw(lm, [encode_prompt(lm.tokenizer, "It")], Sampling(300, 6), seed=0)[0]
    samples = sample(lm, ["It"], Sampling(300, 6), seed=0)[0]
    for d, s in zip(drawn, samples, strict=True):
        again = encode(lm.tokenizer, Example("It", s.text, s.finished)).completion_ids
        assert s.exact == (again == d.ids)
        assert (s.tokens, s.finished, s.logprob) == (len(d.ids), d.finished, d.logprob)
        assert EOS not in s.text
        assert not s.text.endswith("\ufffd")
    assert 0.01 < np.mean([s.exact for s in samples]) < 0.95


def test_chat_prompts_are_sampled_after_the_template():
    lm = tiny_models.lm()
    chat = type(lm)(lm.model, tiny_models.chat_tokenizer(), "cpu", lm.path, lm.fingerprint)
    turns = ({"role": "user", "content": "Hm"},)
    (a,) = sample(chat, [turns], Sampling(2, 5), seed=0)
    (b,) = sample(chat, ["<user>Hm\n<assistant>"], Sampling(2, 5), seed=0)
    assert [x.text for x in a] == [x.text for x in b]


def test_pick_by_hand():
    logits = torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, -9.0]])
    noise = torch.exp(-torch.tensor([[3.0, 0.0, 0.0], [1.0, 1.0005, 0.0]])).double()
    tokens, doubtful = pick(logits, noise, Sampling(1), 1e-3)
    assert tokens.tolist() == [0, 1]  # scores 3, 1, 2 and 1, 1.0005, -9
    assert doubtful.tolist() == [False, True]
    tokens, doubtful = pick(logits, noise, Sampling(1, top_k=1), 0.0)
    assert tokens[0].item() == 2
    assert not doubtful.any()
    tokens, _ = pick(logits, noise, Sampling(1, temperature=0.1), 0.0)
    assert tokens[0].item() == 2  # scores 3, 10, 20


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-40, 40), min_size=2, max_size=12, unique=True),
    st.integers(0, 13),
    st.floats(0.05, 1.0),
)
def test_may_draw_is_top_k_and_top_p(tenths, top_k, top_p):
    x = np.array(tenths) / 10
    p = np.exp(x) / np.exp(x).sum()
    order = list(np.argsort(-p))
    want, before = set(), 0.0
    for rank, v in enumerate(order):
        if before < top_p - 1e-6 and (top_k == 0 or rank < top_k):
            want.add(int(v))
        before += p[v]
    if any(abs(sum(p[v] for v in order[:r]) - top_p) < 1e-5 for r in range(len(x) + 1)):
        return  # on the edge, where rounding decides
    sampling = Sampling(1, top_p=top_p, top_k=top_k)
    sets = {
        slack: set(
            may_draw(torch.tensor([tenths]) / 10, sampling, slack)[0].nonzero()[:, 0].tolist()
        )
        for slack in (-0.05, 0.0, 0.05)
    }
    assert sets[0.0] == want
    assert sets[-0.05] <= want <= sets[0.05]


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"n": 0}, "n must be at least 1"),
        ({"n": 1, "max_new_tokens": 0}, "max_new_tokens must be at least 1"),
        ({"n": 1, "temperature": 0.0}, "temperature must be above 0"),
        ({"n": 1, "temperature": float("inf")}, "temperature must be above 0"),
        ({"n": 1, "top_p": 0.0}, "top_p must be above 0"),
        ({"n": 1, "top_k": -1}, "top_k must be 0"),
    ],
)
def test_sampling_out_of_range(values, rule):
    with pytest.raises(UserError, match=rule):
        Sampling(**values)


def test_bad_calls_are_user_errors():
    lm = tiny_models.lm()
    with pytest.raises(UserError, match="must fit the 64 tokens"):
        sample(lm, ["The film"], Sampling(1, 64), seed=0)
    with pytest.raises(UserError, match="2 indices for 1 prompts"):
        sample(lm, ["It"], SAMPLING, seed=0, indices=[0, 1])
    with pytest.raises(UserError, match="seed -1"):
        sample(lm, ["It"], SAMPLING, seed=-1)
    assert sample(lm, [], SAMPLING, seed=0) == []
