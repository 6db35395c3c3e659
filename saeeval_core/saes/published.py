"""Hooks and models that published places and names state, where a dictionary's own settings have no field for them."""

import re
from dataclasses import dataclass
from pathlib import Path

from saeeval_core.models.layouts import canonical
from saeeval_core.saes.release_names import hook_of, transcoder_hooks

SPARSIFY_FOLDER = re.compile(r"(?:[A-Za-z_]+\.)*?(?:layers|h)\.(\d+)(?:\.(\w+))?")
"""A folder that sparsify named after a module."""
_GEMMA = re.compile(r"gemma-scope-(2b|9b|27b)-(pt|it)-(res|mlp|att|transcoders)(?:-canonical)?(?![\w-])")
_GEMMA_2 = re.compile(r"gemma-scope-2-(270m|1b|4b|12b|27b)-(pt|it)(?![\w-])")
_ATTENTION = ("attn", "attention", "self_attn", "self_attention")
_SUBMODULE = re.compile(r"(resid_pre|resid_mid|resid_post|mlp_out|attn_out|attention_out)(?:_layer)?_(\d+)")
_HOOKS = {"attention_out": "attn_out"}


@dataclass(frozen=True)
class Place:
    """Where a dictionary belongs. None is what its place does not say."""

    hook: str | None = None
    """Hook it reads."""
    hook_out: str | None = None
    """Hook it writes."""
    model: str | None = None


def submodule_hook(name: object, layer: object) -> str | None:
    """The hook that a trainer's submodule names; None where the name is missing, unknown, or of another layer."""
    if not isinstance(name, str):
        return None
    match = _SUBMODULE.fullmatch(name)
    hook = f"blocks.{match[2]}.hook_{_HOOKS.get(match[1], match[1])}" if match else canonical(name)
    number = re.match(r"blocks\.(\d+)\.", hook)
    return hook if number and layer in (None, int(number[1])) else None


def sparsify_place(folder: str, transcoder: bool) -> Place:
    """Hooks of a folder that sparsify named after a module, such as ``layers.6`` or ``layers.6.mlp``."""
    match = SPARSIFY_FOLDER.fullmatch(folder)
    if match is None:
        return Place()
    block, module = f"blocks.{match[1]}.", match[2]
    if module == "mlp":
        return Place(f"{block}mlp.hook_in" if transcoder else f"{block}hook_mlp_out", f"{block}hook_mlp_out")
    # What an attention or a whole block reads is known, but no dictionary between the two is exact in closed form.
    if transcoder or module not in (None, *_ATTENTION):
        return Place()
    hook = block + ("hook_attn_out" if module else "hook_resid_post")
    return Place(hook, hook)


def gemma_scope_place(path: Path) -> Place:
    """Of a file that lies as Gemma Scope publishes it, by the names of its folders."""
    folder = _folder(path)
    match = _GEMMA.search(folder)
    if match is None or "embedding" in folder:
        return Place()
    inside = folder[match.end() :]
    model = f"gemma-2-{match[1]}" + ("-it" if match[2] == "it" else "")
    if match[3] == "transcoders":
        return Place(*(transcoder_hooks("gemma_2_transcoder", "", inside) or (None, None)), model)
    hook = hook_of(match[0], "gemma_2", "", inside)
    return Place(hook, hook, model)


def gemma_scope_2_place(path: Path) -> Place:
    """Of a file that lies as Gemma Scope 2 publishes it, where its settings are not beside it."""
    folder = _folder(path)
    match = _GEMMA_2.search(folder)
    if match is None:
        return Place()
    inside, model = folder[match.end() :], gemma_3_name(f"gemma-3-{match[1]}-{match[2]}")
    if "transcoder" in inside:
        return Place(*(transcoder_hooks("gemma_3", "", inside) or (None, None)), model)
    hook = hook_of(match[0], "gemma_3", "", inside)
    return Place(hook, hook, model)


def gemma_3_name(said: str) -> str:
    """The model's name on the Hub for what Gemma Scope 2 calls it, such as "gemma-v3-270m-pt"."""
    name = said.rsplit("/", 1)[-1].replace("gemma-v3", "gemma-3")
    # Of this size the model without an ending is the pretrained one.
    return f"google/{name.removesuffix('-pt') if '270m' in name else name}"


def _folder(path: Path) -> str:
    """Its folder by real names: the Hub's cache links files to where no name says anything, so only folders are followed."""
    return path.parent.resolve().as_posix()
