"""Contexts of latents: windows of tokens, as references into the texts of a recording."""

from dataclasses import dataclass

import numpy as np

WINDOW = 16
"""Tokens in a stored context."""
TOP, PER_CELL = 10, 2
"""Strongest contexts of a latent, and strongest of each label cell."""
POOL = 30
"""Uniform sample of firing texts, from which those spread over activation intervals are taken."""
KINDS = ("top", "sampled", "top of its cell")


@dataclass(frozen=True)
class ContextRef:
    """A window of tokens in one text, with the activation of one latent at each of them."""

    text: int
    """Row of the text in the recording."""
    position: int
    """Valid-token index of the window's first token."""
    activation: np.ndarray
    """float32[WINDOW]: |s*f| per token, 0 past the end of the text."""
    kind: str
    """One of KINDS."""


@dataclass(frozen=True)
class Contexts:
    """Contexts of all latents, latent by latent; kept as references so that no third-party text is stored."""

    indptr: np.ndarray
    """int64[latents + 1]: contexts of latent i are numbers indptr[i] to indptr[i + 1] - 1."""
    text: np.ndarray
    """int32[contexts]: row of the text in the recording."""
    position: np.ndarray
    """int16[contexts]: valid-token index of the window's first token."""
    activation: np.ndarray
    """float16[contexts, WINDOW]: |s*f| per token, 0 past the end of the text."""
    kind: np.ndarray
    """uint8[contexts]: index into KINDS."""

    @classmethod
    def empty(cls, n_latents: int) -> "Contexts":
        """No contexts for any of ``n_latents`` latents."""
        return cls(
            np.zeros(n_latents + 1, np.int64),
            np.zeros(0, np.int32),
            np.zeros(0, np.int16),
            np.zeros((0, WINDOW), np.float16),
            np.zeros(0, np.uint8),
        )

    def of(self, latent: int) -> list[ContextRef]:
        """Contexts of one latent: the strongest first, then the sampled, then the best of each cell."""
        return [
            ContextRef(
                int(self.text[i]), int(self.position[i]), self.activation[i].astype(np.float32), KINDS[self.kind[i]]
            )
            for i in range(self.indptr[latent], self.indptr[latent + 1])
        ]


def collecting_bytes(n_latents: int, n_cells: int) -> int:
    """Memory in which a pass collects the contexts of an SAE: 345 MB for 131,072 latents and 8 label cells."""
    return n_latents * (TOP + POOL + PER_CELL * n_cells) * (15 + 2 * WINDOW)
