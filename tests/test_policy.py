"""Policy evaluation, against exact sums over every completion of a tiny model."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import tiny_models
from whichpairs.errors import UserError
from whichpairs.evaluate.interval import interval
from whichpairs.evaluate.policy import PolicyEvaluation, evaluate_policy, sequence_kl
from whichpairs.lm.encode import Encoded, decode, encode_all, encode_prompt

POLICY, REFERENCE = tiny_models.lm("gpt2", 1), tiny_models.lm("gpt2", 0)


def log_next(lm, ids) -> np.ndarray:
    """log π(·|ids), one row a sequence, float64."""
    return lm.model(input_ids=torch.tensor(ids)).logits[:, -1].double().log_softmax(-1).numpy()


def exact_kl_of_two_tokens(prompt):
    """KL between completions of at most two tokens, by the sum over all first tokens."""
    start = list(encode_prompt(POLICY.tokenizer, prompt))
    p, q = log_next(POLICY, [start])[0], log_next(REFERENCE, [start])[0]
    grown = [[*start, v] for v in range(1, 320)]  # token 0 ends the completion
    p2, q2 = log_next(POLICY, grown), log_next(REFERENCE, grown)
    return np.exp(p) @ (p - q) + np.exp(p[1:]) @ (np.exp(p2) * (p2 - q2)).sum(1)


def characters(texts):
    return np.array([float(len(t)) for t in texts])


def test_kl_is_the_exact_divergence_on_average():
    prompts = ["The film", "It"]
    call = {"beta": 0.3, "samples_per_prompt": 1500, "max_new_tokens": 2, "seed": 0}
    got = evaluate_policy(POLICY, REFERENCE, prompts, characters, **call)
    exact = [exact_kl_of_two_tokens(prompt) for prompt in prompts]
    np.testing.assert_allclose(got.kl, exact, rtol=0.03)


def test_reward_is_the_exact_expectation_on_average():
    start = list(encode_prompt(POLICY.tokenizer, "It"))
    p = np.exp(log_next(POLICY, [start])[0])
    score = characters(["", *decode(POLICY.tokenizer, [[v] for v in range(1, 320)])])
    error = np.sqrt((p @ score**2 - (p @ score) ** 2) / 4000)
    call = {"beta": 0.3, "samples_per_prompt": 4000, "max_new_tokens": 1, "seed": 0}
    got = evaluate_policy(POLICY, REFERENCE, ["It"], characters, reward_text="completion", **call)
    assert abs(got.reward[0] - p @ score) < 4 * error
    assert error < 0.05 * (p @ score)


def test_kl_of_given_tokens_is_the_sum_over_places():
    encoded = [Encoded((5, 6), (7, 8, 9)), Encoded((1,), (4,)), Encoded((3, 2, 1), ())]
    got = sequence_kl(POLICY, REFERENCE, encoded, batch_size=2)
    for value, e in zip(got, encoded, strict=True):
        ids = [*e.prompt_ids, *e.completion_ids]
        places = range(len(e.prompt_ids), len(ids))
        p = [log_next(POLICY, [ids[:t]])[0] for t in places]
        q = [log_next(REFERENCE, [ids[:t]])[0] for t in places]
        want = sum(float(np.exp(a) @ (a - b)) for a, b in zip(p, q, strict=True))
        assert value == pytest.approx(want, rel=1e-4, abs=1e-12)


def test_the_reference_has_no_divergence_from_itself():
    call = {"beta": 0.5, "samples_per_prompt": 3, "max_new_tokens": 8, "seed": 0}
    same = evaluate_policy(REFERENCE, REFERENCE, ["The film", ""], characters, **call)
    assert same.kl.tolist() == [0.0, 0.0]
    np.testing.assert_array_equal(same.objective, same.reward)
    unknown = replace(REFERENCE, fingerprint="other")  # now it is computed, and comes to the same
    np.testing.assert_array_equal(
        evaluate_policy(unknown, REFERENCE, ["The film", ""], characters, **call).kl, [0.0, 0.0]
    )


def test_the_reward_sees_what_it_is_told_to():
    seen: list[list[str]] = []

    def note(texts):
        seen.append(list(texts))
        return characters(texts)

    call = {"beta": 0.1, "samples_per_prompt": 2, "max_new_tokens": 6, "seed": 4}
    whole = evaluate_policy(POLICY, REFERENCE, ["The film", "It"], note, **call)
    bare = evaluate_policy(
        POLICY,
        REFERENCE,
        ["The film", "It"],
        note,
        reward_text="completion",
        reward_scale=0.5,
        **call,
    )
    prompts = ["The film", "The film", "It", "It"]
    assert seen[0] == [p + t for p, t in zip(prompts, seen[1], strict=True)]
    np.testing.assert_allclose(whole.reward, characters(seen[0]).reshape(2, 2).mean(1))
    np.testing.assert_allclose(bare.reward, characters(seen[1]).reshape(2, 2).mean(1) / 2)
    np.testing.assert_allclose(whole.objective, whole.reward - 0.1 * whole.kl)
    np.testing.assert_array_equal(whole.kl, bare.kl)


def test_one_seed_pairs_two_policies():
    near = replace(POLICY, fingerprint="near")
    call = {"beta": 0.1, "samples_per_prompt": 2, "max_new_tokens": 6, "seed": 4}
    prompts = ["The film", "It", "", "I saw"]
    a = evaluate_policy(POLICY, REFERENCE, prompts, characters, **call)
    b = evaluate_policy(near, REFERENCE, prompts, characters, **call)
    assert a.minus(b).mean == 0.0
    c = replace(a, reward=a.reward + 1.0)
    assert c.minus(a).mean == pytest.approx(1.0)
    assert c.minus(a).standard_error == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(UserError, match="the same prompts with one beta"):
        a.minus(replace(a, beta=0.2))


def test_intervals_by_hand():
    got = interval(np.array([1.0, 2.0, 3.0, 6.0]))
    assert got.mean == 3.0
    assert got.standard_error == pytest.approx(np.sqrt(14 / 3 / 4))
    half = 3.182446 * got.standard_error  # t of three degrees of freedom
    assert (got.low, got.high) == pytest.approx((3 - half, 3 + half), rel=1e-6)
    assert interval(np.array([1.0])).low is None
    e = PolicyEvaluation(np.array([1.0, 3.0]), np.array([2.0, 0.0]), 0.5)
    assert (e.mean_reward.mean, e.mean_kl.mean, e.mean_objective.mean) == (2.0, 1.0, 1.5)
    assert e.objective.tolist() == [0.0, 3.0]


def test_bad_calls_are_user_errors():
    call = {"beta": 0.1, "samples_per_prompt": 2, "max_new_tokens": 6, "seed": 4}
    with pytest.raises(UserError, match="one finite number a text"):
        evaluate_policy(POLICY, REFERENCE, ["It"], lambda t: np.zeros(1), **call)
    with pytest.raises(UserError, match="one finite number a text"):
        evaluate_policy(POLICY, REFERENCE, ["It"], lambda t: np.full(len(t), np.nan), **call)
    with pytest.raises(UserError, match="needs prompts and a beta"):
        evaluate_policy(POLICY, REFERENCE, [], characters, **call)
    narrow = replace(REFERENCE, model=copy.deepcopy(REFERENCE.model), fingerprint="x")
    narrow.model.config.vocab_size = 300
    with pytest.raises(UserError, match="share one vocabulary"):
        sequence_kl(
            POLICY, narrow, encode_all(POLICY.tokenizer, tiny_models.EXAMPLES), batch_size=2
        )
