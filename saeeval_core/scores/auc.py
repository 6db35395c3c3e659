"""Area under the ROC curve with weighted texts."""

import numpy as np


def weighted_auc(logits: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float[k]: probability that a positive outranks a negative, both drawn by weight; ties count half.

    logits float64[texts], positive bool[texts], weights float[k, texts]: one AUC per row of weights, in their
    precision.
    """
    order = np.argsort(logits, kind="stable")
    w, up = weights[:, order], positive[order]
    below = np.cumsum(np.where(up, 0, w), axis=1)
    # Equal logits share the mean of the negatives below their first and up to their last.
    _, first, inverse = np.unique(logits[order], return_index=True, return_inverse=True)
    last = np.append(first[1:], len(logits)) - 1
    start = np.where(first[inverse] > 0, below[:, first[inverse] - 1], 0)
    rank = (start + below[:, last[inverse]]) / 2
    wins = (w * up * rank).sum(1)
    return wins / ((w * up).sum(1) * (w * ~up).sum(1))
