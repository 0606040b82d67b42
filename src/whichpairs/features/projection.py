"""A random linear map of a model's whole gradient that never sees the gradient whole.

A weight matrix's gradient G (rows × columns) is squeezed from both sides, L G Rᵀ with k rows in L
and in R (LoGra: Choe et al. 2024, arXiv:2405.13954): as G = Σ_t l_t r_tᵀ, it is enough to project
each token's two vectors. L and R are random orthonormal rows scaled so that E LᵀL = I. The small
blocks of all layers then get random signs and are folded to `dim` numbers (CountSketch: Charikar
et al. 2002). Every step keeps inner products in expectation, so E⟨Pg, Pg'⟩ = ⟨g, g'⟩.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from whichpairs.features.layers import Layer
from whichpairs.lm.optional import require

require("torch")
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

SMALLEST_SIDE, LARGEST_SIDE = 32, 64


@dataclass(frozen=True)
class Projection:
    """The random map P of one model, dimension and seed.

    Attributes:
        dim: numbers in the result.
        sides: for a matrix, by its parameter's name, L (k, rows) and R (k, columns) of the
        parameter's two axes.
        biases: for the bias of a matrix, a unit vector (k,): b counts as a column (row) of W
            whose input is 1.
        places: where each weight's block, or each norm parameter as it is, begins and ends among
        the blocks.
        signs: ±1, one for each number of the blocks, padded to a multiple of `dim`.
    """

    dim: int
    sides: dict[str, tuple[Tensor, Tensor]]
    biases: dict[str, Tensor]
    places: dict[str, slice]
    signs: Tensor

    def fold(self, blocks: Float32[Tensor, "n blocks"]) -> Float32[Tensor, "n dim"]:
        """Signs, then every `dim`-th number added up; `blocks` is as wide as `signs`."""
        return (blocks * self.signs).view(len(blocks), -1, self.dim).sum(1)


def build_projection(
    layers: Sequence[Layer], dim: int, seed: int, device: str = "cpu", side: int | None = None
) -> Projection:
    """The random map for these layers.

    Args:
        dim: numbers in the result, at least 1.
        seed: 0 or more. Each parameter's part depends on the seed and its name alone.
        side: k, rows of L and of R; by default as many as give 4 `dim` numbers in all, within 32
        and 64.
    """
    matrices = {layer.weight: layer for layer in layers if layer.is_matrix}
    wanted = math.ceil(math.sqrt(4 * dim / max(len(matrices), 1)))
    k = side or min(max(wanted, SMALLEST_SIDE), LARGEST_SIDE)
    sides: dict[str, tuple[Tensor, Tensor]] = {}
    biases: dict[str, Tensor] = {}
    places: dict[str, slice] = {}
    end = 0
    for layer in layers:
        for name in (layer.weight, layer.bias):
            if name is None or name in places or name in biases:
                continue
            shape = _parameter(layer, name).shape
            if layer.is_matrix and name == layer.bias:
                kin = sides[layer.weight][0 if layer.kind == "conv1d" else 1].shape[0]
                biases[name] = torch.from_numpy(_unit(kin, seed, name)).to(device)
                continue
            size = math.prod(shape)
            if layer.is_matrix:
                left, right = (_side(k, s, seed, f"{name}[{axis}]") for axis, s in enumerate(shape))
                sides[name] = (
                    torch.from_numpy(left).to(device),
                    torch.from_numpy(right).to(device),
                )
                size = len(left) * len(right)
            places[name] = slice(end, end + size)
            end += size
    padded = math.ceil(max(end, 1) / dim) * dim
    signs = _rng(seed, "signs").integers(0, 2, padded).astype(np.float32) * 2 - 1
    return Projection(dim, sides, biases, places, torch.from_numpy(signs).to(device))


def _parameter(layer: Layer, name: str) -> Tensor:
    tensor = layer.module.weight if name == layer.weight else layer.module.bias
    assert isinstance(tensor, Tensor)
    return tensor


def _rng(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, *name.encode()])


def _side(k: int, size: int, seed: int, name: str) -> Float32[np.ndarray, "k size"]:
    """k random orthonormal rows times √(size/k): E LᵀL = I; a rotation where k reaches `size`."""
    k = min(k, size)
    q, _ = np.linalg.qr(_rng(seed, name).standard_normal((size, k), dtype=np.float32))
    return np.ascontiguousarray(q.T * np.float32(math.sqrt(size / k)))


def _unit(k: int, seed: int, name: str) -> Float32[np.ndarray, " k"]:
    direction = _rng(seed, name).standard_normal(k, dtype=np.float32)
    return np.asarray(direction / np.linalg.norm(direction), dtype=np.float32)
