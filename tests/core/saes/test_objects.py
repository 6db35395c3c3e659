"""Objects with ``encode`` and rows, as they stand in a notebook."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from foreign_files import HOOK, rand
from toys import labelled_texts

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.models.language_model import load_model
from saeeval_core.recordings.recorder import record
from saeeval_core.saes.objects import from_object

D, N = 16, 24
ROWS = rand(N, D)


@dataclass
class Directions:
    """Signed projections, as of ICA or PCA."""

    rows: torch.Tensor

    def encode(self, x):
        return x @ self.rows.T


class InNumpy:
    """Works on arrays."""

    def encode(self, x):
        return np.maximum(np.asarray(x) @ ROWS.numpy().T, 0)


class Decoding(Directions):
    """With a decoder that adds a constant."""

    def decode(self, codes):
        return codes @ self.rows + 2.0


class Squaring(Directions):
    """With a decoder that is not affine."""

    def decode(self, codes):
        return codes**2 @ self.rows


class Restless(Directions):
    """Other codes each time."""

    def encode(self, x):
        return x @ self.rows.T + torch.rand(())


class AcrossTokens(Directions):
    """A token's code depends on the others."""

    def encode(self, x):
        return (x - x.mean(0)) @ self.rows.T


def test_codes_and_rows_are_those_of_the_object():
    x = rand(5, D, seed=3)
    signed, positive = (
        from_object(Directions(ROWS), ROWS, HOOK, name="ica"),
        from_object(InNumpy(), ROWS, HOOK, name="np"),
    )
    torch.testing.assert_close(signed.encode(x[None]), (x @ ROWS.T)[None])
    torch.testing.assert_close(positive.encode(x), (x @ ROWS.T).relu())
    assert (signed.non_negative, positive.non_negative) == (False, True)
    assert signed.fingerprint != positive.fingerprint and signed.info.hook == signed.info.hook_out == HOOK
    assert signed.fingerprint == from_object(Directions(ROWS), ROWS.numpy(), HOOK, name="other").fingerprint
    assert signed.reconstruct(x, signed.encode(x)) is None


def test_a_decoder_gives_the_bias():
    x, sae = rand(5, D, seed=3), from_object(Decoding(ROWS), ROWS, HOOK, name="d")
    torch.testing.assert_close(sae.reconstruct(x, sae.encode(x)), x @ ROWS.T @ ROWS + 2.0, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("obj", "rows", "says"),
    [
        (Squaring(ROWS), ROWS, "exact ablation"),
        (Restless(ROWS), ROWS, "other codes"),
        (AcrossTokens(ROWS), ROWS, "one token only"),
        (Directions(ROWS), ROWS[:5], "one for each"),
        (Directions(ROWS * torch.nan), ROWS, "finite"),
        (Directions(ROWS), ROWS * torch.nan, "finite"),
        (Directions(ROWS), ROWS[0], "expected finite ones"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_an_object_that_cannot_be_ablated_exactly_is_refused(obj, rows, says):
    with pytest.raises(UnsupportedSAE, match=says):
        from_object(obj, rows, HOOK, name="odd")


def test_an_object_is_recorded_like_an_sae(tiny_model_dir):
    model = load_model(str(tiny_model_dir), device="cpu")
    texts = labelled_texts(3)
    (width,) = model.widths(["blocks.1.hook_resid_post"])
    rows = rand(N, width)
    sae = from_object(Directions(rows), rows, "blocks.1.hook_resid_post", name="ica", model="m")
    residuals, (latents,) = record(model, "blocks.1.hook_resid_post", texts.texts, texts.fingerprint, [sae])
    # Projections are linear, so the mean of the codes is the code of the mean.
    np.testing.assert_allclose(latents.latents.toarray(), residuals.residuals @ rows.numpy().T, rtol=1e-3, atol=1e-3)
