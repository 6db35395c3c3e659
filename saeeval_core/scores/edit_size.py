"""How much an ablation changes residuals: the share of whitened variance that it removes (docs/method.md, "Edit size").

    tr(Sigma^-1 Cov(x' - x)) / d

The number of latents is no measure of that: one dense direction can remove more than twenty sparse latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saeeval_core.scores.readers import Edit


@dataclass(frozen=True, eq=False)
class Whitening:
    """The texts against which edits are measured."""

    inverse: np.ndarray
    """float64[d_model, d_model]: Sigma^-1, of the shrunk covariance."""

    @classmethod
    def of(cls, residuals: np.ndarray) -> "Whitening":
        """Of training residuals float[texts, d_model]: their Ledoit-Wolf covariance, which always has an inverse."""
        from scipy.linalg import cho_factor, cho_solve
        from sklearn.covariance import ledoit_wolf

        sigma, _ = ledoit_wolf(residuals.astype(np.float64))
        return cls(cho_solve(cho_factor(sigma), np.eye(len(sigma))))

    def edit_size(self, edit: Edit) -> float:
        """Of one edit of the scored texts: 0 when nothing changes; above 1 is possible."""
        return self.edit_sizes(edit, [len(edit.rows)])[0]

    def edit_sizes(self, edit: Edit, ns: Sequence[int]) -> list[float]:
        """Of the first n latents of an edit, for each of ``ns``. A mean shift of all texts counts nothing."""
        codes = edit.codes - edit.codes.mean(0)
        together = (edit.rows @ self.inverse @ edit.rows.T) * (codes.T @ codes) / len(codes)
        return [float(together[:n, :n].sum()) / len(self.inverse) for n in ns]
