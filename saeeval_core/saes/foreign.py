"""The weights of dictionaries in other people's files, as SAELens's classes.

SAELens converts some of these forms itself, but only from the Hub, or not as their own libraries compute: its converter
of sparsify transposes decoder rows and keeps b_dec in the input. So the tensors are renamed here, and SAELens's classes
encode and decode with them.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.saes.array_files import read_arrays
from saeeval_core.saes.formats import ABS_TOP_K, DICTIONARY_LEARNING, GATED, JUMP_RELU, RELU, SPARSIFY, TOP_K, Foreign
from saeeval_core.saes.registry import SaeInfo

_CLASSES = {RELU: "standard", JUMP_RELU: "jumprelu", TOP_K: "topk", ABS_TOP_K: "abstopk", GATED: "gated"}
_NAMES = {
    "encoder.bias": "b_enc",
    "bias": "b_dec",
    "decoder_bias": "b_dec",
    "decoder.bias": "b_dec",
    "mag_bias": "b_mag",
    "gate_bias": "b_gate",
    "encoder.weight": "W_enc",
    "decoder.weight": "W_dec",
    "w_enc": "W_enc",
    "w_dec": "W_dec",
    "affine_skip_connection": "W_skip",
}
"""Names of dictionary_learning, sparsify and Gemma Scope 2 -> SAELens's."""
_TURNED = ("encoder.weight", "decoder.weight", "affine_skip_connection")
"""Those that are transposed too."""
_REFUSED = torch.serialization.pickle.UnpicklingError
"""What torch raises for a file that asks for anything but tensors."""
_DAMAGED = (
    RuntimeError,
    zipfile.BadZipFile,
    OSError,
    ValueError,
    LookupError,
    EOFError,
    TypeError,
    AttributeError,
    AssertionError,
)
"""What torch and zipfile raise for files that are cut short or of another kind."""
_NOT_WEIGHTS = ("k", "group_sizes", "active_groups", "group_indices", "apply_b_dec_to_input", "scaling_factor")


def module_of(info: SaeInfo, device: str, dtype: str) -> Any:
    """SAELens's object with the weights of an SAE in foreign files.

    UnsupportedSAE for files that hold anything but plain tensors, or other ones than their settings say.
    """
    foreign, transcoder, spec = info.foreign, info.is_transcoder, info.id
    if foreign is None:
        raise ValueError("no files of another form")
    state, k = _state(spec, foreign)
    if transcoder and foreign.subtracts:
        if foreign.d_in != foreign.d_out:
            raise UnsupportedSAE(
                f"SAE '{spec}' takes b_dec, {foreign.d_out} values, off the {foreign.d_in} that it reads; set "
                "apply_b_dec_to_input to 0"
            )
        state["b_enc"] = (state["b_enc"].double() - state["b_dec"].double() @ state["W_enc"].double()).float()
    module = _empty(foreign, transcoder, k, dtype)
    _check_shapes(spec, module, state)
    module.load_state_dict(state, assign=True)
    if transcoder and foreign.act == TOP_K:
        from sae_lens.saes.topk_sae import TopK

        module.activation_fn = TopK(k or 1)
    module.cfg.device = device
    return module.to(device=device, dtype=getattr(torch, dtype))


def _empty(foreign: Foreign, transcoder: bool, k: int | None, dtype: str) -> Any:
    """SAELens's object without room for weights yet."""
    from sae_lens.registry import get_sae_class

    values: dict[str, Any] = {
        "d_in": foreign.d_in,
        "d_sae": foreign.n_latents,
        "dtype": dtype,
        "device": "meta",
        "apply_b_dec_to_input": foreign.subtracts and not transcoder,
    }
    if transcoder:
        jump, skip = "jumprelu_" if foreign.act == JUMP_RELU else "", "skip_" if foreign.skip else ""
        values["d_out"] = foreign.d_out
        kind, config = get_sae_class(f"{jump}{skip}transcoder")
    else:
        kind, config = get_sae_class(_CLASSES[foreign.act])
        values |= {"k": k} if k is not None else {}
    return kind(config(**values))


def _check_shapes(spec: str, module: Any, state: Mapping[str, Tensor]) -> None:
    expected = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    if missing := sorted(set(expected) - set(state)):
        raise UnsupportedSAE(f"SAE '{spec}': its weights lack {', '.join(missing)}; save it again")
    for name, shape in expected.items():
        if tuple(state[name].shape) != shape:
            raise UnsupportedSAE(
                f"SAE '{spec}': {name} is {tuple(state[name].shape)}, its settings say {shape}; save it again"
            )
    if unknown := sorted(set(state) - set(expected)):
        raise UnsupportedSAE(f"SAE '{spec}': its weights hold {ascii(unknown[0])[:40]}, which its class does not have")


def _state(spec: str, foreign: Foreign) -> tuple[dict[str, Tensor], int | None]:
    """(tensors under SAELens's names, float32; k)"""
    tensors = _tensors(spec, foreign)
    k = foreign.k
    if foreign.act == TOP_K and "k" in tensors and tensors["k"].numel() == 1:
        k = int(tensors["k"])  # dictionary_learning anneals it, so that a checkpoint's own one counts
        if not 1 <= k <= foreign.n_latents:
            raise UnsupportedSAE(f"SAE '{spec}': k is {k} in its weights; expected 1 to {foreign.n_latents}")
    state = {}
    for name, tensor in tensors.items():
        if name in _NOT_WEIGHTS or (name == "threshold" and foreign.act != JUMP_RELU):
            continue
        if tensor.is_complex():
            raise UnsupportedSAE(f"SAE '{spec}': {ascii(name[:40])} holds complex numbers; save real ones")
        state[_NAMES.get(name, name)] = (tensor.T if name in _TURNED else tensor).float().contiguous()
    if "threshold" in state and state["threshold"].numel() == 1:
        state["threshold"] = state["threshold"].reshape(1).expand(foreign.n_latents).contiguous()
    return state, k


def _tensors(spec: str, foreign: Foreign) -> dict[str, Tensor]:
    path = foreign.weights
    if foreign.form == DICTIONARY_LEARNING:
        return _torch_file(spec, path)
    if path.suffix == ".npz":
        return {name: torch.from_numpy(value) for name, value in read_arrays(spec, path).items()}
    from safetensors.torch import load_file

    found = load_file(path)
    return _one_bias(found) if foreign.form == SPARSIFY else found


def _one_bias(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """sparsify stores W_dec as rows of latents already; a coder without encoder bias has none, which is zeros."""
    if "encoder.bias" not in tensors and "encoder.weight" in tensors:
        return tensors | {"encoder.bias": torch.zeros(len(tensors["encoder.weight"]))}
    return tensors


def _torch_file(spec: str, path: Path) -> dict[str, Tensor]:
    """A dictionary of plain tensors saved by ``torch.save``. Nothing in the file is ever executed."""
    # A file of torch.save is a zip whose entries are not compressed, so that it holds as many bytes as it claims.
    if not zipfile.is_zipfile(path):
        raise _no_tensors(spec, path, "it is no zip file, as torch.save writes them")
    try:
        with zipfile.ZipFile(path) as archive:
            if any(e.compress_type != zipfile.ZIP_STORED for e in archive.infolist()):
                raise _no_tensors(spec, path, "it is compressed, as torch.save never does")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except _REFUSED:
        raise _no_tensors(spec, path, "it asks for code to be run") from None
    except _DAMAGED as error:
        raise _no_tensors(spec, path, f"it is damaged: {' '.join(str(error).split())[:80]}") from None
    if not isinstance(found, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()):
        raise _no_tensors(spec, path, f"it holds a {type(found).__name__} of other things")
    for name, tensor in found.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
            raise _no_tensors(spec, path, f"{ascii(name[:40])} claims more values than there are")
    return found


def _no_tensors(spec: str, path: Path, why: str) -> UnsupportedSAE:
    return UnsupportedSAE(
        f"SAE '{spec}': {path.name} is not a dictionary of plain tensors ({why}); nothing in it was executed: save "
        "ae.state_dict() with torch.save, or its arrays as FILE.npz"
    )
