"""Agreement of two rankings."""

from collections.abc import Sequence

from scipy.stats import rankdata


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Rank correlation; None when either side does not vary or there are fewer than 3 pairs."""
    if len(a) < 3:
        return None
    x, y = rankdata(a), rankdata(b)
    spread = x.std() * y.std()
    return float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread else None
