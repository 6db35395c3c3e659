"""Packed arrays come back as they were, and damage is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from saeeval_core.errors import ArtifactError
from saeeval_core.storage.packing import pack, unpack


@given(
    st.sampled_from(["<f2", "<f4", "u1", "<u2", "<i4", "<i8", "|b1"]).flatmap(
        lambda d: arrays(d, array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=7))
    )
)
def test_bits_come_back(a):
    packed, layout = pack({"a": a})
    found = unpack(packed, layout)["a"]
    assert found.dtype == a.dtype and found.shape == a.shape and found.tobytes() == a.tobytes()
    assert found.flags.writeable


def test_what_the_layout_does_not_name_stays():
    a = np.arange(3)
    assert unpack({"a": a}, {})["a"] is a


def test_repeating_planes_shrink():
    a = np.random.default_rng(0).random(50_000).astype(np.float16)
    assert len(pack({"a": a})[0]["a"]) < 0.85 * a.nbytes


@pytest.mark.parametrize("shape", [[99], [101]])
def test_another_size_than_promised_is_refused(shape):
    packed, layout = pack({"a": np.arange(100)})
    layout["a"]["shape"] = shape
    with pytest.raises(ArtifactError, match=r"'a' holds \d+ bytes, expected \d+"):
        unpack(packed, layout)


def test_damage_is_told():
    packed, layout = pack({"a": np.arange(100)})
    with pytest.raises(ArtifactError, match="cannot be read"):
        unpack({"a": packed["a"][::-1]}, layout)
