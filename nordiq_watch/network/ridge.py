"""Ridge regression in closed form (Hoerl and Kennard, "Ridge regression", Technometrics 12, 1970)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def solve_ridge(squares: Tensor, products: Tensor, *, penalty: float) -> Tensor:
    """(…, features, outputs): W of least |X W - Y|² + penalty · mean square of X · |W|², from XᵀX and XᵀY.

    The last feature is the constant, which is not penalized. Solved by numpy in float64: torch 2.13 on a CPU gives NaN
    for systems of this size once `set_num_threads` has raised the number of its threads, as any other code may do.
    """
    features = squares.shape[-1]
    size = squares.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
    ridge = torch.eye(features)
    ridge[-1, -1] = 1e-6
    penalized = squares + penalty * size[..., None, None] * ridge
    solution = np.linalg.solve(penalized.double().numpy(), products.double().numpy())
    return torch.from_numpy(solution).to(products.dtype)
