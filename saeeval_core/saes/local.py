"""SAEs on this machine: the folder or file that a name stands for, its settings, and its identity from its files."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from saeeval_core.errors import UnsupportedSAE, unknown_name
from saeeval_core.saes.formats import ENDINGS, Foreign, recognise
from saeeval_core.saes.placed import Placed, split
from saeeval_core.saes.registry import (
    CFG_FILE,
    UNFOLDED,
    WEIGHTS_FILE,
    SaeInfo,
    bundled_names,
    inspect_folder,
    sae_roots,
)


def inspect_sae(spec: str, search: Sequence[Path] | None = None) -> SaeInfo:
    """The settings of a bundled SAE, a local folder or file; UnsupportedSAE for anything that is not on this machine."""
    path = local_path(spec, search)
    if path is not None:
        hooks = split(spec)
        foreign = recognise(hooks.name, path)
        if foreign is not None:
            return _foreign_info(hooks.name, spec, foreign, hooks)
        # A file of weights in SAELens's form stands for its folder.
        folder = path.parent if path.is_file() else path
        return with_given(inspect_folder(hooks.name, folder), spec, hooks)
    hint = f"expected a bundled name, or a folder or file of an SAE such as one with {CFG_FILE}"
    raise UnsupportedSAE(unknown_name("SAE", spec, bundled_names(search), hint))


def local_path(spec: str, search: Sequence[Path] | None = None) -> Path | None:
    """Folder or file that ``spec`` names on this machine, or None.

    UnsupportedSAE for a path that is missing or of another kind of file, or for what can be no path.
    """
    try:
        return _find(split(spec).name, search)
    # A name that is too long, NUL and lone surrogates, the home of a user who does not exist.
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UnsupportedSAE(f"SAE {ascii(spec[:60])} can be no path ({why}); give a folder, a name or an id") from None


def _find(name: str, search: Sequence[Path] | None) -> Path | None:
    for root in sae_roots(search):
        if name and not {"/", "\\"} & set(name) and (root / name / CFG_FILE).exists():
            return root / name
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if path.is_file():
        if path.suffix in ENDINGS:
            return path
        raise UnsupportedSAE(
            f"'{name}' is a file; give a folder that holds {CFG_FILE} and {WEIGHTS_FILE}, or a file that ends in "
            f"{', '.join(ENDINGS)}"
        )
    if name.startswith((".", "/", "~", "\\")):
        raise UnsupportedSAE(f"no folder '{name}'; give a folder that holds {CFG_FILE} and {WEIGHTS_FILE}")
    return None


def weights_of(info: SaeInfo) -> Path:
    """The file of its weights, of an SAE on this machine."""
    return info.foreign.weights if info.foreign else Path(info.location) / WEIGHTS_FILE


def with_given(info: SaeInfo, spec: str, hooks: Placed) -> SaeInfo:
    """The settings under the whole name, with its hooks where the SAE's own files name none.

    UnsupportedSAE where one hook is given for two, or two for one.
    """
    if not hooks.write:
        return info
    if info.hook is not None:
        return replace(info, id=spec)
    if info.is_transcoder and hooks.read == hooks.write:
        raise UnsupportedSAE(
            f"SAE '{hooks.name}' is a transcoder that names no hooks; give the one it writes with --hook and the one it "
            "reads with --read-hook"
        )
    if not info.is_transcoder and hooks.read != hooks.write:
        raise UnsupportedSAE(
            f"SAE '{hooks.name}' ({info.architecture}) reads and writes one hook; leave --read-hook out"
        )
    return replace(info, id=spec, hook=hooks.read, hook_out=hooks.write, given_hooks=f"{hooks.read}:{hooks.write}")


def file_fingerprint(info: SaeInfo) -> str | None:
    """``LoadedSAE.fingerprint`` of a folder or file, from it alone; None for an SAE that is not on this machine."""
    if info.foreign is not None:
        return fingerprint_with(hash_files(info.foreign.files), info)
    folder = Path(info.location)
    if not (folder / WEIGHTS_FILE).is_file() or info.normalize_activations in UNFOLDED:
        return None
    return fingerprint_with(hash_files([folder / CFG_FILE, folder / WEIGHTS_FILE]), info)


def fingerprint_with(of_files: str, info: SaeInfo) -> str:
    """The fingerprint of an SAE: of its files, and of hooks that a name gives, as they decide what is ablated where."""
    if not info.given_hooks:
        return of_files
    return hashlib.sha256(f"{of_files} {info.given_hooks}".encode()).hexdigest()[:16]


def hash_files(paths: Sequence[Path]) -> str:
    """First 16 hex digits of the SHA-256 over the files' SHA-256s."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _foreign_info(name: str, spec: str, foreign: Foreign, hooks: Placed) -> SaeInfo:
    transcoder = foreign.transcoder or (foreign.hook is None and hooks.read != hooks.write)
    if transcoder and not foreign.transcoder and not foreign.can_transcode:
        raise UnsupportedSAE(f"SAE '{name}' ({foreign.kind}) reads and writes one hook; leave --read-hook out")
    info = SaeInfo(
        id=name,
        location=str(foreign.weights.parent),
        architecture=foreign.architecture(transcoder),
        d_in=foreign.d_in,
        n_latents=foreign.n_latents,
        hook=foreign.hook,
        hook_out=foreign.hook_out,
        d_out=foreign.d_out,
        model=foreign.model,
        foreign=foreign,
    )
    return with_given(info, spec, hooks)
