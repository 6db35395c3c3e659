"""Dictionaries in other people's files: recognised by their content, described without torch and without their weights.

| form | files | codes |
|---|---|---|
| dictionary_learning | ``ae.pt`` + ``config.json`` | by its ``dict_class`` |
| sparsify | ``cfg.json`` + ``sae.safetensors`` | TopK of relu((x − b_dec) W_enc + b_enc); transcoders of relu(x W_enc + b_enc) |
| Gemma Scope | ``params.npz`` | JumpReLU(x W_enc + b_enc) |
| Gemma Scope 2 | ``params.safetensors`` + ``config.json`` | the same |
| plain | ``FILE.npz``, ``FILE.safetensors`` | act((x − b_dec·[apply_b_dec_to_input]) W_enc + b_enc) |

act is JumpReLU where the file holds ``threshold``, TopK where it holds ``k``, else ReLU. ``foreign.py`` reads the weights.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.models.layouts import canonical
from saeeval_core.saes.array_files import Shapes, read_scalar, shapes_of
from saeeval_core.saes.published import (
    SPARSIFY_FOLDER,
    Place,
    gemma_3_name,
    gemma_scope_2_place,
    gemma_scope_place,
    sparsify_place,
    submodule_hook,
)
from saeeval_core.storage.parse_json import NotJson, parse_json

DICTIONARY_LEARNING, SPARSIFY, GEMMA_SCOPE, PLAIN = "dictionary_learning", "sparsify", "Gemma Scope", "plain form"
GEMMA_SCOPE_2 = "Gemma Scope 2"
"""Forms."""
RELU, JUMP_RELU, TOP_K, ABS_TOP_K, GATED = "ReLU", "JumpReLU", "TopK", "AbsTopK", "gated"
"""What makes codes of pre-activations."""
ENDINGS = (".npz", ".safetensors", ".pt")
"""Endings of files that can be given in place of a folder."""
_SAE_LENS = "sae_weights.safetensors"
_MARKS = {
    _SAE_LENS: "SAELens",
    "ae.pt": DICTIONARY_LEARNING,
    "sae.safetensors": SPARSIFY,
    "params.npz": GEMMA_SCOPE,
    "params.safetensors": GEMMA_SCOPE_2,
}
"""File that only one form has."""
_LEARNED = {
    "AutoEncoder": (RELU, True),
    "AutoEncoderNew": (RELU, False),
    "GatedAutoEncoder": (GATED, True),
    "JumpReluAutoEncoder": (JUMP_RELU, False),
    "AutoEncoderTopK": (TOP_K, True),
    "BatchTopKSAE": (JUMP_RELU, True),
    "MatryoshkaBatchTopKSAE": (JUMP_RELU, True),
}
"""dictionary_learning's class -> (what makes its codes, whether b_dec is taken off what it reads).

A BatchTopK dictionary encodes with its threshold, which training estimated.
"""
_REQUIRED = ("W_enc", "b_enc", "W_dec", "b_dec")
_OPTIONAL = ("threshold", "k", "apply_b_dec_to_input")
_SCOPE_2 = ("w_enc", "b_enc", "w_dec", "b_dec", "threshold")
_SKIP = "affine_skip_connection"
"""Names of the arrays of Gemma Scope 2, and of the one that its affine transcoders have besides."""
_OF_A_LAYER = re.compile(r"params_layer_\d+\.safetensors")
"""Files of Gemma Scope 2's dictionaries of several layers."""


@dataclass(frozen=True)
class Foreign:
    """What the files of one dictionary say, without their weights."""

    form: str
    kind: str
    """What it was taken for, in words for results."""
    weights: Path
    files: tuple[Path, ...]
    """All that decide its codes; the first is the one with weights."""
    act: str
    d_in: int
    d_out: int
    n_latents: int
    subtracts: bool = False
    """b_dec is taken off what it reads."""
    k: int | None = None
    hook: str | None = None
    """Hook it reads, where its files or their published places say."""
    hook_out: str | None = None
    model: str | None = None
    transcoder: bool = False
    """Trained to write another hook than the one it reads."""
    skip: bool = False
    remarks: tuple[str, ...] = ()
    """What its files leave open, and how it was taken."""

    @property
    def notes(self) -> tuple[str, ...]:
        """For results: what it was taken for, and how."""
        return f"read as {self.kind}", *self.remarks

    @property
    def can_transcode(self) -> bool:
        """It can be told to read another hook than it writes: nothing in its files speaks against it."""
        return self.form in (GEMMA_SCOPE, GEMMA_SCOPE_2, PLAIN)

    def architecture(self, transcoder: bool) -> str:
        """Name of the class that encodes it, as ``SaeInfo`` has SAELens's; it has none for TopK transcoders."""
        kind = {RELU: "", GATED: "Gated"}.get(self.act, self.act)
        if transcoder:
            return f"{kind}{'Skip' if self.skip else ''}Transcoder"
        return f"{kind or 'Standard'}SAE"


def holds_sae(folder: Path) -> bool:
    """Whether a folder holds a file that only an SAE has, in SAELens's or another form, or SAELens's settings."""
    return any((folder / name).is_file() for name in (*_MARKS, "cfg.json"))


def recognise(spec: str, path: Path) -> Foreign | None:
    """The dictionary in a folder or file; None for one in SAELens's own form, or for nothing at all.

    UnsupportedSAE for what looks like two forms, and for settings that cannot be.
    """
    if path.is_file():
        return _of_file(spec, path)
    names = {f.name for f in path.iterdir() if f.is_file()}
    marks = [name for name in _MARKS if name in names]
    if len(marks) > 1:
        found = " and ".join(f"{_MARKS[m]} ({m})" for m in marks)
        raise UnsupportedSAE(
            f"SAE '{spec}' looks like {found}; keep one of them in the folder, or give the file itself"
        )
    if any(map(_OF_A_LAYER.fullmatch, names)):
        raise _several_layers(spec)
    if marks or "cfg.json" in names:
        return None if not marks or marks[0] == _SAE_LENS else _of_file(spec, path / marks[0])
    plain = sorted(n for n in names if n.endswith((".npz", ".safetensors")))
    if len(plain) > 1:
        raise UnsupportedSAE(
            f"SAE '{spec}' holds {len(plain)} files of arrays ({', '.join(plain[:3])}); give the path of one of them"
        )
    return _of_file(spec, path / plain[0]) if plain else None


def _of_file(spec: str, path: Path) -> Foreign | None:
    if path.suffix == ".pt":
        return _dictionary_learning(spec, path)
    if path.name == "sae.safetensors" and (path.parent / "cfg.json").is_file():
        return _sparsify(spec, path)
    if path.name == _SAE_LENS and (path.parent / "cfg.json").is_file():
        return None
    shapes = shapes_of(spec, path)
    return _gemma_scope_2(spec, path, shapes) if "w_enc" in shapes else _plain(spec, path, shapes)


def _dictionary_learning(spec: str, path: Path) -> Foreign:
    # Its trainer's checkpoints lie in a folder of their own below the one with the settings.
    config = (path.parent.parent if path.parent.name == "checkpoints" else path.parent) / "config.json"
    if not config.is_file():
        raise UnsupportedSAE(
            f"SAE '{spec}': no config.json beside {path.name}, which dictionary_learning writes; add it"
        )
    trainer = _settings(spec, config).get("trainer")
    if not isinstance(trainer, dict):
        raise UnsupportedSAE(f"SAE '{spec}': config.json has no trainer, where dictionary_learning puts its settings")
    name = str(trainer.get("dict_class"))
    if name not in _LEARNED:
        raise UnsupportedSAE(
            f"SAE '{spec}': dict_class is {ascii(name[:40])} in config.json; of dictionary_learning's classes these can "
            f"be read: {', '.join(_LEARNED)}"
        )
    act, subtracts = _LEARNED[name]
    d_in, n_latents = (_count(spec, trainer, key) for key in ("activation_dim", "dict_size"))
    hook = submodule_hook(trainer.get("submodule_name"), trainer.get("layer"))
    return Foreign(
        DICTIONARY_LEARNING,
        f"dictionary_learning's {name} ({path.name}, config.json)",
        path,
        (path, config),
        act,
        d_in,
        d_in,
        n_latents,
        subtracts,
        _count(spec, trainer, "k", n_latents) if act == TOP_K else None,
        hook,
        hook,
        _word(trainer.get("lm_name")),
    )


def _sparsify(spec: str, path: Path) -> Foreign:
    config = path.parent / "cfg.json"
    cfg = _settings(spec, config)
    if missing := [key for key in ("d_in", "k") if key not in cfg]:
        raise UnsupportedSAE(f"SAE '{spec}': cfg.json lacks {', '.join(missing)}, which sparsify writes; save it again")
    for key, plain in (("activation", "topk"), ("embed_skip", False), ("gram_lookup", False)):
        if cfg.get(key, plain) != plain:
            raise UnsupportedSAE(
                f"SAE '{spec}': sparsify's {key} = {ascii(cfg[key])[:40]} cannot be read here; only {key} = {plain} can"
            )
    d_in = _count(spec, cfg, "d_in")
    n_latents = (
        _count(spec, cfg, "num_latents") if cfg.get("num_latents") else d_in * _count(spec, cfg, "expansion_factor")
    )
    transcoder, skip = (_switch(spec, cfg, key) for key in ("transcode", "skip_connection"))
    act = ABS_TOP_K if _switch(spec, cfg, "signed") else TOP_K
    if skip and not transcoder or transcoder and act == ABS_TOP_K:
        raise UnsupportedSAE(
            f"SAE '{spec}': sparsify's skip_connection goes with transcode, and signed goes without it"
        )
    place = sparsify_place(path.parent.name, transcoder)
    run = path.parent.parent / "config.json"
    said = _settings(spec, run) if SPARSIFY_FOLDER.fullmatch(path.parent.name) and run.is_file() else {}
    kind = ("skip transcoder" if skip else "transcoder") if transcoder else "SAE"
    return Foreign(
        SPARSIFY,
        f"sparsify's {kind} ({act}; cfg.json, sae.safetensors)",
        path,
        (path, config),
        act,
        d_in,
        d_in,
        n_latents,
        not transcoder,
        _count(spec, cfg, "k", n_latents),
        place.hook,
        place.hook_out,
        _word(said.get("model")),
        transcoder,
        skip,
        (f"its hooks are those of its folder's name, {path.parent.name}",) if place.hook else (),
    )


def _gemma_scope_2(spec: str, path: Path, shapes: Shapes) -> Foreign:
    config = path.parent / "config.json"
    said = _settings(spec, config) if config.is_file() else {}
    kind = said.get("type", "sae")
    if _OF_A_LAYER.fullmatch(path.name) or kind not in ("sae", "transcoder"):
        raise _several_layers(spec)
    _check_scope_2(spec, path, shapes, said)
    d_in, n_latents, d_out = _plain_sizes(spec, {name.replace("w_", "W_"): shape for name, shape in shapes.items()})
    place = _scope_2_place(spec, said) if said else gemma_scope_2_place(path)
    transcoder = kind == "transcoder" or _SKIP in shapes or place.hook != place.hook_out
    if not transcoder and d_in != d_out:
        raise UnsupportedSAE(f"SAE '{spec}' reads {d_in} values and writes {d_out}, but config.json calls it an SAE")
    skip = "affine " if _SKIP in shapes else ""
    return Foreign(
        GEMMA_SCOPE_2,
        f"Gemma Scope 2's {skip}{'transcoder' if transcoder else 'SAE'} ({path.name}{', config.json' if said else ''})",
        path,
        (path, config) if said else (path,),
        JUMP_RELU,
        d_in,
        d_out,
        n_latents,
        hook=place.hook,
        hook_out=place.hook_out,
        model=place.model,
        transcoder=transcoder,
        skip=bool(skip),
    )


def _check_scope_2(spec: str, path: Path, shapes: Shapes, said: Mapping[str, Any]) -> None:
    """UnsupportedSAE for other arrays than these dictionaries have, or others than their settings say."""
    if missing := [name for name in _SCOPE_2 if name not in shapes]:
        raise UnsupportedSAE(
            f"SAE '{spec}': {path.name} lacks {', '.join(missing)}, which Gemma Scope 2 has; get it again"
        )
    if unknown := sorted(set(shapes) - {*_SCOPE_2, _SKIP}):
        raise UnsupportedSAE(
            f"SAE '{spec}': {path.name} holds {ascii(unknown[0])[:40]}, which Gemma Scope 2 does not have"
        )
    if len(shapes["w_dec"]) == 3 or len(shapes["w_enc"]) == 3:
        raise _several_layers(spec)
    if said.get("architecture", "jump_relu") != "jump_relu":
        raise UnsupportedSAE(
            f"SAE '{spec}': architecture is {ascii(said['architecture'])[:40]} in config.json; of Gemma Scope 2 only "
            "jump_relu can be read"
        )
    if said and _switch(spec, said, "affine_connection", "config.json") != (_SKIP in shapes):
        raise UnsupportedSAE(
            f"SAE '{spec}': affine_connection in config.json and {_SKIP} in {path.name} do not agree; get both again"
        )
    d_in, d_out = shapes["w_enc"][0] if shapes["w_enc"] else 0, shapes["b_dec"][0] if shapes["b_dec"] else 0
    if shapes.get(_SKIP, (d_in, d_out)) != (d_in, d_out):
        raise UnsupportedSAE(f"SAE '{spec}': {_SKIP} is {shapes[_SKIP]}, expected [d_in, d_out] = {(d_in, d_out)}")


def _scope_2_place(spec: str, said: Mapping[str, Any]) -> Place:
    read, write = (_word(said.get(f"hf_hook_point_{side}")) for side in ("in", "out"))
    if read is None:
        raise UnsupportedSAE(
            f"SAE '{spec}': config.json lacks hf_hook_point_in, which Gemma Scope 2 writes; get it again"
        )
    model = _word(said.get("model_name"))
    hook = canonical(read)
    return Place(hook, canonical(write) if write else hook, gemma_3_name(model) if model else None)


def _several_layers(spec: str) -> UnsupportedSAE:
    return UnsupportedSAE(
        f"SAE '{spec}' is of several layers at once (a crosscoder or cross-layer transcoder of Gemma Scope 2): what a latent "
        "does is not one decoder row; use an SAE or transcoder of one layer"
    )


def _plain(spec: str, path: Path, shapes: Shapes) -> Foreign:
    if missing := [key for key in _REQUIRED if key not in shapes]:
        found = ", ".join(sorted(shapes)[:6]) or "nothing"
        raise UnsupportedSAE(
            f"SAE '{spec}': {path.name} lacks {', '.join(missing)} (it holds {found[:80]}); expected W_enc [d_in, latents], "
            "b_enc, W_dec [latents, d_out], b_dec (zeros where there is none)"
        )
    if unknown := sorted(set(shapes) - {*_REQUIRED, *_OPTIONAL}):
        raise UnsupportedSAE(
            f"SAE '{spec}': {path.name} holds {ascii(unknown[0])[:40]} too, which may change its codes; keep only "
            f"{', '.join((*_REQUIRED, *_OPTIONAL))}"
        )
    if {"threshold", "k"} <= set(shapes):
        raise UnsupportedSAE(f"SAE '{spec}': {path.name} holds threshold (JumpReLU) and k (TopK); keep one of them")
    d_in, n_latents, d_out = _plain_sizes(spec, shapes)
    act = JUMP_RELU if "threshold" in shapes else TOP_K if "k" in shapes else RELU
    subtracts = _scalar(spec, path, "apply_b_dec_to_input", 0, 1) if "apply_b_dec_to_input" in shapes else 0
    square = "W_enc is square and was taken as [d_in, latents]"
    scope = path.name == "params.npz" and act == JUMP_RELU and not subtracts
    place = gemma_scope_place(path) if scope else Place()
    taken = f" with b_dec {'' if subtracts else 'not '}taken off its input"
    kind = "Gemma Scope's JumpReLU (params.npz)" if scope else f"the plain form ({path.name}): {act}{taken}"
    return Foreign(
        GEMMA_SCOPE if scope else PLAIN,
        kind,
        path,
        (path,),
        act,
        d_in,
        d_out,
        n_latents,
        bool(subtracts),
        _scalar(spec, path, "k", 1, n_latents) if act == TOP_K else None,
        place.hook,
        place.hook_out,
        place.model,
        transcoder=d_in != d_out or place.hook != place.hook_out,
        remarks=(square,) if d_in == n_latents else (),
    )


def _plain_sizes(spec: str, shapes: Shapes) -> tuple[int, int, int]:
    """(d_in, latents, d_out). UnsupportedSAE for shapes that do not go together."""
    if len(shapes["b_enc"]) != 1 or len(shapes["b_dec"]) != 1 or 0 in (*shapes["b_enc"], *shapes["b_dec"]):
        raise UnsupportedSAE(
            f"SAE '{spec}': b_enc is {shapes['b_enc']} and b_dec {shapes['b_dec']}; expected one value per latent, and one "
            "per value that it writes"
        )
    n_latents, d_out = shapes["b_enc"][0], shapes["b_dec"][0]
    encoder, decoder = shapes["W_enc"], shapes["W_dec"]
    if len(encoder) != 2 or encoder[1] != n_latents or not encoder[0]:
        turned = "; transpose it" if len(encoder) == 2 and encoder[0] == n_latents else ""
        raise UnsupportedSAE(
            f"SAE '{spec}': W_enc is {encoder}, expected [d_in, latents] with the {n_latents} latents of b_enc{turned}"
        )
    if decoder != (n_latents, d_out):
        raise UnsupportedSAE(f"SAE '{spec}': W_dec is {decoder}, expected [latents, d_out] = {(n_latents, d_out)}")
    if shapes.get("threshold", ()) not in ((), (1,), (n_latents,)):
        raise UnsupportedSAE(f"SAE '{spec}': threshold is {shapes['threshold']}, expected one value, or {n_latents}")
    return encoder[0], n_latents, d_out


def _scalar(spec: str, path: Path, key: str, least: int, most: int) -> int:
    value = read_scalar(spec, path, key)
    if value != int(value) or not least <= value <= most:
        raise UnsupportedSAE(
            f"SAE '{spec}': {key} is {value:g} in {path.name}; expected a whole number from {least} to {most}"
        )
    return int(value)


def _settings(spec: str, path: Path) -> Mapping[str, Any]:
    try:
        found = parse_json(path.read_bytes())
    except (NotJson, OSError) as error:
        raise UnsupportedSAE(f"SAE '{spec}': {path.name} is not readable JSON ({error}); save the SAE again") from None
    if not isinstance(found, dict):
        raise UnsupportedSAE(f"SAE '{spec}': {path.name} holds no settings (a JSON object); save the SAE again")
    return found


def _count(spec: str, settings: Mapping[str, Any], key: str, most: int = 1 << 24) -> int:
    value = settings.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        raise UnsupportedSAE(
            f"SAE '{spec}': {key} = {ascii(value)[:40]} in its settings; expected a whole number from 1 to {most:,}"
        )
    return value


def _switch(spec: str, settings: Mapping[str, Any], key: str, file: str = "cfg.json") -> bool:
    value = settings.get(key, False)
    if not isinstance(value, bool):
        raise UnsupportedSAE(f"SAE '{spec}': {key} = {ascii(value)[:40]} in {file}; expected true or false")
    return value


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
