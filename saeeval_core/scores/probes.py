"""Linear probes on pooled residuals (docs/method.md, "Probes"). A probe belongs to a residual recording, not to an SAE.

Arrays throughout: residuals float32[texts, d_model], labels bool[texts], strata int[texts] (quadrant or class of each
text), weights float[texts].
"""

from dataclasses import dataclass

import numpy as np

from saeeval_core.config import Protocol, derive_rng
from saeeval_core.errors import DataError
from saeeval_core.scores.threads import one_thread

C_GRID = np.logspace(-4, 1, 11)
FOLDS = 5
ADAMW_BATCH = 16
"""The strength of the learned spurious correlation depends on it (SAEBench's own warning)."""
ADAMW_LR = 1e-3


@dataclass(frozen=True)
class Probe:
    """z = x . weight + bias; predicts the positive label when z > 0."""

    weight: np.ndarray
    """float64[d_model], on raw (not standardised) residuals."""
    bias: float
    n_texts: int
    """Training texts."""
    c: float | None = None
    """Chosen inverse L2 strength (robust)."""
    epoch: int | None = None
    """Epoch whose weights are kept, counted from 1 (AdamW)."""

    def logits(self, residuals: np.ndarray) -> np.ndarray:
        """float64[texts] for residuals float[texts, d_model]."""
        return residuals.astype(np.float64) @ self.weight + self.bias


def fit_probe(
    residuals: np.ndarray,
    labels: np.ndarray,
    strata: np.ndarray,
    protocol: Protocol,
    *,
    seed: int,
    weights: np.ndarray | None = None,
    test: tuple[np.ndarray, np.ndarray] | None = None,
) -> Probe:
    """Train a probe as the protocol says.

    residuals float32[texts, d_model], labels bool[texts]. The logistic probe alone uses strata int[texts], for its
    folds, and weights float[texts]. ``test``, (residuals, labels) of the probe's own test texts, is used by AdamW
    alone, where the protocol chooses the epoch on it. DataError if only one label is present or a text has no pooled
    residual.
    """
    if labels.all() or not labels.any():
        raise DataError(f"all {len(labels)} training texts of a probe have the same label; both are needed")
    if not np.isfinite(residuals).all():
        raise DataError("some texts have no tokens, so no pooled residual; remove texts without words")
    if protocol.optimiser == "logistic":
        return fit_logistic(residuals, labels, strata, seed=seed, weights=weights)
    return fit_adamw(residuals, labels, protocol, seed=seed, test=test)


def fit_logistic(
    residuals: np.ndarray, labels: np.ndarray, strata: np.ndarray, *, seed: int, weights: np.ndarray | None = None
) -> Probe:
    """Standardised L2 logistic regression; C by mean held-out log-loss over stratified folds, ties to the smaller C.

    residuals float32[texts, d_model], labels bool[texts], strata int[texts], weights float[texts]. By log-loss, because
    accuracy is nearly flat on biased texts and would pick C almost at random.
    """
    # scikit-learn takes a second to import, and a dashboard with stored probes never trains one.
    from sklearn.preprocessing import StandardScaler

    weights = np.ones(len(labels)) if weights is None else weights * (len(labels) / weights.sum())
    fold = stratified_folds(strata, seed)
    losses = np.zeros((FOLDS, len(C_GRID)))
    with one_thread():
        for k in range(FOLDS):
            train, held = fold != k, fold == k
            scaler = StandardScaler().fit(residuals[train])
            x, x_held = (scaler.transform(residuals[own]).astype(np.float64) for own in (train, held))
            path = logistic_path(x, labels[train], weights[train])
            losses[k] = log_losses(x_held @ path[:, :-1].T + path[:, -1], labels[held], weights[held])
    best = int(np.argmin(losses.mean(0)))  # argmin takes the first, that is the smaller C, on ties
    return refit_logistic(residuals, labels, float(C_GRID[best]), weights)


def refit_logistic(residuals: np.ndarray, labels: np.ndarray, c: float, weights: np.ndarray | None = None) -> Probe:
    """The same probe with C given. residuals float[texts, d_model], labels bool[texts], weights float[texts]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(residuals)
    model = LogisticRegression(C=c, tol=1e-6, max_iter=2000)
    with one_thread():
        model.fit(scaler.transform(residuals), labels, sample_weight=weights)
    weight = model.coef_[0] / scaler.scale_
    bias = float(model.intercept_[0] - weight @ scaler.mean_)
    return Probe(weight, bias, len(labels), c=c)


def fit_adamw(
    residuals: np.ndarray,
    labels: np.ndarray,
    protocol: Protocol,
    *,
    seed: int,
    test: tuple[np.ndarray, np.ndarray] | None,
) -> Probe:
    """AdamW on shuffled batches of 16, as the paper and SAEBench train.

    residuals float32[texts, d_model], labels bool[texts]. With ``protocol.best_test_epoch`` the weights of the first
    epoch with the best accuracy on ``test`` (residuals, labels) are kept. The global torch generator is seeded inside a
    fork, so that SAEBench's own function gives the same weights.
    """
    import torch

    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        return train_adamw(residuals, labels, protocol, test)


def train_adamw(
    residuals: np.ndarray, labels: np.ndarray, protocol: Protocol, test: tuple[np.ndarray, np.ndarray] | None
) -> Probe:
    """The loop of ``fit_adamw`` on the same arrays: residuals [texts, d_model], labels [texts].

    It consumes torch's global generator: initial weights, then one permutation per epoch.
    """
    import torch

    x, y = (
        torch.from_numpy(np.ascontiguousarray(residuals, dtype=np.float32)),
        torch.from_numpy(labels.astype(np.float32)),
    )
    net = torch.nn.Linear(x.shape[1], 1)
    optimiser = torch.optim.AdamW(net.parameters(), lr=ADAMW_LR)
    loss_of = torch.nn.BCEWithLogitsLoss()
    best: tuple[float, Probe] | None = None
    for epoch in range(1, protocol.epochs + 1):
        order = torch.randperm(len(x))
        for batch in order.split(ADAMW_BATCH):
            loss = loss_of(net(x[batch]).squeeze(-1), y[batch])
            if protocol.l1:
                loss = loss + protocol.l1 * net.weight.abs().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if protocol.best_test_epoch or epoch == protocol.epochs:
            probe = Probe(net.weight[0].detach().double().numpy().copy(), net.bias.item(), len(x), epoch=epoch)
            score = float(epoch)
            if protocol.best_test_epoch:
                assert test is not None, "choosing an epoch needs the probe's test set"
                score = float(((probe.logits(test[0]) > 0) == test[1]).mean())
            if best is None or score > best[0]:
                best = (score, probe)
    assert best is not None
    return best[1]


def stratified_folds(strata: np.ndarray, seed: int) -> np.ndarray:
    """int64[texts] in 0..FOLDS-1, dealt evenly within each stratum; strata int[texts] and seed decide it."""
    rng = derive_rng(seed, "folds")
    fold = np.zeros(len(strata), dtype=int)
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        fold[members] = np.arange(len(members)) % FOLDS
    return fold


def logistic_path(x: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64[len(C_GRID), d_model + 1]: weights and, last, the bias for every C, each started from the one before.

    x float64[texts, d_model], labels bool[texts], weights float[texts]. The steps are those of scikit-learn's lbfgs with
    tolerance 1e-6, without the checks that it repeats at every one of them. Single precision would take more of them:
    at the end of a search its rounding looks like a slope.
    """
    from scipy.optimize import minimize
    from scipy.special import expit, log_expit

    sign, share = np.where(labels, 1.0, -1.0), weights / weights.sum()

    def loss(own: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
        margin = sign * (x @ own[:-1] + own[-1])
        pull = -share * sign * expit(-margin)
        gradient = np.append(pull @ x + penalty * own[:-1], pull.sum())
        return float(penalty / 2 * (own[:-1] @ own[:-1]) - share @ log_expit(margin)), gradient

    # The largest C may not converge; it is then not chosen.
    options = {"maxiter": 2000, "maxls": 50, "gtol": 1e-6, "ftol": 64 * np.finfo(float).eps}
    found = [np.zeros(x.shape[1] + 1)]
    for c in C_GRID:
        penalty = 1 / (c * weights.sum())
        found.append(minimize(loss, found[-1], (penalty,), method="L-BFGS-B", jac=True, options=options).x)
    return np.stack(found[1:])


def log_losses(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64[columns]: mean log-loss of logits float64[texts, columns]; labels bool[texts], weights float[texts]."""
    from scipy.special import log_expit

    return np.asarray(-(weights @ log_expit(np.where(labels, 1, -1)[:, None] * logits)) / weights.sum())
