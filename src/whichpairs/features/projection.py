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
from whichpairs.streams import stream_of

require("torch")
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

SMALLEST_SIDE, LARGEST_SIDE = 32, 128
LORA_SCALE = 2.0
"""α/r of the adapters, as in training."""


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
    layers: Sequence[Layer],
    dim: int,
    seed: int,
    device: str = "cpu",
    side: int | None = None,
    lora_rank: int | None = None,
) -> Projection:
    """The random map for these layers.

    Args:
        dim: numbers in the result, at least 1.
        seed: 0 or more. Each parameter's part depends on the seed and its name alone.
        side: k, rows of L and of R; by default as many as give 4 `dim` numbers in all, within 32
            and 128.
        lora_rank: r where the gradient is that of low-rank adapters, with respect to B: ΔW = α/r
            B A with B = 0, so that its gradient is α/r (Σ_t g_t ⊗ A x_t), rows × r, and A's is 0.
    """
    count = sum(layer.is_matrix for layer in layers)
    k = side or _side_length(dim, count, lora_rank)
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
                left, right = _sides(layer, tuple(shape), k, seed, lora_rank)
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


def lora_init(rank: int, columns: int, seed: int, name: str) -> Float32[np.ndarray, "r columns"]:
    """A at initialisation: uniform within ±1/√columns (Kaiming's with a = √5), as peft draws it."""
    bound = 1.0 / math.sqrt(columns)
    drawn = _rng(seed, f"{name}[lora]").uniform(-bound, bound, (rank, columns))
    return np.asarray(drawn, dtype=np.float32)


def _side_length(dim: int, matrices: int, lora_rank: int | None) -> int:
    each = 4 * dim / max(matrices, 1)
    wanted = math.ceil(math.sqrt(each) if lora_rank is None else each / lora_rank)
    return min(max(wanted, SMALLEST_SIDE), LARGEST_SIDE)


def _sides(
    layer: Layer, shape: tuple[int, ...], k: int, seed: int, lora_rank: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """L and R of a matrix; for adapters the input's side is α/r R A."""
    sides = [_side(k, size, seed, f"{layer.weight}[{axis}]") for axis, size in enumerate(shape)]
    if lora_rank is not None:
        axis = 0 if layer.kind == "conv1d" else 1
        a = lora_init(lora_rank, shape[axis], seed, layer.weight)
        inner = _side(k, lora_rank, seed, f"{layer.weight}[rank]")
        sides[axis] = np.ascontiguousarray(np.float32(LORA_SCALE) * inner @ a)
    return sides[0], sides[1]


def _parameter(layer: Layer, name: str) -> Tensor:
    tensor = layer.module.weight if name == layer.weight else layer.module.bias
    assert isinstance(tensor, Tensor)
    return tensor


def _rng(seed: int, name: str) -> np.random.Generator:
    return stream_of(seed, name)


def _side(k: int, size: int, seed: int, name: str) -> Float32[np.ndarray, "k size"]:
    """k random orthonormal rows times √(size/k): E LᵀL = I; a rotation where k reaches `size`."""
    k = min(k, size)
    q, _ = np.linalg.qr(_rng(seed, name).standard_normal((size, k), dtype=np.float32))
    return np.ascontiguousarray(q.T * np.float32(math.sqrt(size / k)))


def _unit(k: int, seed: int, name: str) -> Float32[np.ndarray, " k"]:
    direction = _rng(seed, name).standard_normal(k, dtype=np.float32)
    return np.asarray(direction / np.linalg.norm(direction), dtype=np.float32)
