"""What a pass collects about one SAE: pooled latents, density, contexts and reconstruction figures."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import csc_array, csr_array, vstack

from saeeval_core.errors import DataError
from saeeval_core.models.layouts import Exactness
from saeeval_core.recordings.contexts import ContextCollector
from saeeval_core.recordings.pooling import PooledCodes, pooled_codes
from saeeval_core.recordings.recording import LatentRecording, RecordingKey
from saeeval_core.recordings.seconds import Stopwatch
from saeeval_core.recordings.segments import Held, Segments
from saeeval_core.saes.loaded import LoadedSAE


class PooledLatents:
    """Everything collected about one SAE during a pass."""

    def __init__(
        self, sae: LoadedSAE, n_valid: np.ndarray, cells: np.ndarray | None, ev_every: int, watch: Stopwatch
    ) -> None:
        """``n_valid``: int[texts], valid tokens; ``cells``: int[texts], label cell of each text, -1 for none.

        Every ``ev_every``-th text is used for explained variance; ``watch`` is told where the time goes.
        """
        n = sae.info.n_latents
        self.watch = watch
        self.sae, self.n_valid, self.ev_every = sae, n_valid, ev_every
        self.rows: list[int] = []
        self.pooled: list[csr_array] = []
        device = sae.decoder.device
        self.active = torch.zeros(n, dtype=torch.int64, device=device)  # tokens on which each latent is active
        # Of each group of texts sum |x - x_hat|^2, sum |x|^2, tokens, and sum x. They are added up in the order of the
        # texts at the end: parts of a pass that are made apart then give every bit of the whole.
        self.ev: list[torch.Tensor] = []
        self.ev_sum: list[torch.Tensor] = []
        self.contexts = ContextCollector(n, cells, device)
        self._held = Held(self._take, device)

    def add(self, rows: np.ndarray, x: torch.Tensor, y: torch.Tensor, edges: np.ndarray) -> None:
        """Encode and pool the valid tokens of the texts rows int[batch].

        x float32[tokens, d_in] is what the SAE reads, y float32[tokens, d_out] what stands where it writes. edges
        int[batch + 1]: text i has the tokens from ``edges[i]`` to ``edges[i + 1]``.
        """
        with self.watch.part("encode"):
            own = _sequence_codes(self.sae, x, edges) if self.sae.needs_sequences else scaled_codes(self.sae, x)
        lengths = np.diff(edges)
        rows, segments = rows[lengths > 0], Segments(lengths[lengths > 0], own[1].device)
        with self.watch.part("pooling"):
            found = self._pool(rows, x, y, own, segments)
        with self.watch.part("contexts"):
            self.contexts.add(rows, own[1], found, segments)

    def _pool(
        self,
        rows: np.ndarray,
        x: torch.Tensor,
        y: torch.Tensor,
        own: tuple[torch.Tensor, torch.Tensor],
        segments: Segments,
    ) -> PooledCodes:
        """Take means, density and explained variance of f and s*f, float32[tokens, latents]."""
        found = pooled_codes(*own, segments)
        self.active += found.active
        self._held.add(rows, found.means)
        explained = rows % self.ev_every == 0
        if explained.any():
            tokens = segments.tokens_of(explained)
            self._explain(*(values.index_select(0, tokens) for values in (x, y, own[0])))
        return found

    def _take(self, rows: np.ndarray, means: torch.Tensor) -> None:
        """Pooled latents float64[texts, latents] of the texts rows int[texts] leave the device, as a sparse array."""
        self.rows += rows.tolist()
        self.pooled.append(_sparse(means))

    def _explain(self, x: torch.Tensor, y: torch.Tensor, codes: torch.Tensor) -> None:
        rebuilt = self.sae.reconstruct(x, codes)
        if rebuilt is not None:
            squares = [(rebuilt - y).double().pow(2).sum(), y.double().pow(2).sum()]
            self.ev.append(torch.stack([*squares, torch.full_like(squares[0], len(y))]))
            self.ev_sum.append(y.sum(0, dtype=torch.float64))

    def explained_variance(self) -> float | None:
        """1 - sum|y - y_hat|^2 / sum|y - mean|^2 over tokens, y what stands where it writes.

        None where there is no reconstruction.
        """
        if not self.ev:
            return None
        error, squares, n = _in_order(self.ev).tolist()
        total = _in_order(self.ev_sum)
        spread = squares - float(total @ total) / n
        return 1 - error / spread if spread > 0 else None

    def state(self) -> dict[str, np.ndarray]:
        """Everything collected so far, as arrays [...] by name that can be stored."""
        self._held.take()
        pooled = vstack(self.pooled, format="csr") if self.pooled else csr_array((0, len(self.active)))
        return {
            "rows": np.array(self.rows, dtype=np.int64),
            "data": pooled.data,
            "indices": pooled.indices,
            "indptr": pooled.indptr,
            "active": self.active.cpu().numpy(),
            "ev": _stacked(self.ev, 3),
            "ev_sum": _stacked(self.ev_sum, self.sae.info.d_out),
        } | {f"contexts.{k}": v for k, v in self.contexts.state().items()}

    def absorb(self, arrays: dict[str, np.ndarray]) -> None:
        """Take in the ``state`` (arrays [...]) of the texts that follow those so far: every bit as in one go."""
        self._held.take()
        self.rows += arrays["rows"].tolist()
        shape = (len(arrays["rows"]), len(self.active))
        self.pooled.append(csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape))
        device = self.active.device
        self.active += torch.from_numpy(arrays["active"]).to(device)
        self.ev += torch.from_numpy(arrays["ev"]).to(device)
        self.ev_sum += torch.from_numpy(arrays["ev_sum"]).to(device)
        self.contexts.absorb({k[len("contexts.") :]: v for k, v in arrays.items() if k.startswith("contexts.")})

    def finish(
        self,
        key: RecordingKey,
        exact: Exactness,
        projected: np.ndarray | None,
        inverse: np.ndarray,
        notes: Sequence[str] = (),
    ) -> LatentRecording:
        """The recording, with one row per text and values rounded to what will be stored.

        ``key``: of the pass at the hook that is read; ``projected``: as in ``LatentRecording``; ``inverse``:
        int[texts], the distinct text of each row (a duplicate text repeats its row);
        ``notes``: lines for results. DataError if values exceed the range of the key's ``storage``.
        """
        self._held.take()
        sae, own_hook = self.sae, exact.probes == (key.hook,)
        n_tokens, active = int(self.n_valid.sum()), self.active.cpu().numpy()
        order = np.full(len(self.n_valid), -1)
        order[self.rows] = np.arange(len(self.rows))
        blank = csr_array((1, len(self.active)))
        stacked = vstack([*self.pooled, blank], format="csr")[order[inverse]]  # texts without tokens get the blank row
        stacked.data = rounded(stacked.data, key.storage, f"pooled latents of {sae.info.id}")
        stacked.eliminate_zeros()
        density = (active / n_tokens).astype(np.float32)
        return LatentRecording(
            sae=sae.info.id,
            sae_fingerprint=sae.fingerprint,
            residual_fingerprint=key.fingerprint,
            latents=csc_array(stacked),
            zero_code=sae.zero_code().numpy(),
            density=density,
            decoder=sae.decoder.float().cpu().numpy(),
            contexts=self.contexts.finish(_first_text(inverse)),
            unsupervised={
                "l0": float(active.sum() / n_tokens),
                "explained_variance": self.explained_variance(),
                "dead": float((active == 0).mean()),
                "tokens": n_tokens,
            },
            non_negative=sae.non_negative,
            about={
                "architecture": sae.info.training_architecture or sae.info.architecture,
                "n_latents": sae.info.n_latents,
                "hook": sae.info.hook,
                "d_in": sae.info.d_in,
            }
            | ({} if own_hook else {"writes": exact.write})
            | ({"frozen_decoder": True} if sae.info.metadata.get("frozen_decoder") is True else {})
            | ({"notes": list(notes)} if notes else {}),
            key=None if own_hook else key,
            exact=None if own_hook else exact,
            projected=projected,
        )


def scaled_codes(sae: LoadedSAE, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(f, s*f) of the tokens x float32[tokens, d], both float32[tokens, latents]."""
    codes = sae.encode(x).float()
    scale = sae.token_scale(x)
    return codes, codes if scale is None else codes * scale[:, None]


def _sparse(values: torch.Tensor) -> csr_array:
    """float64[rows, columns] of a dense tensor; only what is not 0 leaves its device."""
    rows, columns = values.nonzero(as_tuple=True)  # row by row, as a CSR array wants them
    ends = torch.cumsum(torch.bincount(rows, minlength=len(values)), 0)
    data, indices = values[rows, columns].cpu().numpy(), columns.int().cpu().numpy()
    indptr = np.concatenate([[0], ends.cpu().numpy()]).astype(np.int32)
    return csr_array((data, indices, indptr), shape=tuple(values.shape))


def _sequence_codes(sae: LoadedSAE, x: torch.Tensor, edges: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """The same, text by text, for SAEs whose codes depend on earlier tokens."""
    parts = [scaled_codes(sae, x[a:b]) for a, b in zip(edges, edges[1:], strict=False) if b > a]
    return torch.cat([f for f, _ in parts]), torch.cat([sf for _, sf in parts])


def rounded(values: np.ndarray, storage: str, what: str) -> np.ndarray:
    """float32[...]: values of any shape, rounded as they will be stored: a new recording scores like a stored one.

    DataError, with ``what`` in its message, if they exceed float16 and that is ``storage``.
    """
    if storage == "float16" and np.nanmax(np.abs(values), initial=0) > np.finfo(np.float16).max:
        raise DataError(f"{what} exceed float16; record with storage float32")
    return values.astype(storage).astype(np.float32)


def _in_order(addends: Sequence[torch.Tensor]) -> torch.Tensor:
    """Their sum, from the first to the last."""
    total = torch.zeros_like(addends[0])
    for own in addends:
        total += own
    return total


def _stacked(addends: Sequence[torch.Tensor], width: int) -> np.ndarray:
    """float64[addends, width]"""
    return torch.stack(list(addends)).cpu().numpy() if addends else np.zeros((0, width))


def _first_text(inverse: np.ndarray) -> np.ndarray:
    """For each distinct text, the first row that holds it."""
    first = np.zeros(inverse.max() + 1, dtype=np.int64)
    first[inverse[::-1]] = np.arange(len(inverse))[::-1]
    return first
