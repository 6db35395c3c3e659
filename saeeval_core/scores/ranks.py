"""Agreement of two rankings."""

from collections.abc import Sequence

from scipy.stats import rankdata


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None for fewer than 3 pairs or a constant side."""
    if len(a) < 3:
        return None
    x, y = rankdata(a), rankdata(b)
    spread = x.std() * y.std()
    return float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread else None
