"""SAEs in repositories of the Hugging Face Hub: their files are fetched into the Hub's cache and read as local ones."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from saeeval_core.saes.asked import HubPlace
from saeeval_core.saes.formats import ENDINGS
from saeeval_core.saes.registry import CFG_FILE, WEIGHTS_FILE
from saeeval_core.saes.releases import registry
from saeeval_core.storage.hub import hub_errors

_BESIDE = {
    WEIGHTS_FILE: (CFG_FILE,),
    "sae.safetensors": (CFG_FILE, "../config.json"),
    "params.npz": (),
    "params.safetensors": ("config.json",),
    "ae.pt": ("config.json", "../config.json"),
}
"""File of weights that a folder is asked for, in this order -> settings that are fetched too where they are there."""


def fetched(spec: str, place: HubPlace) -> Path:
    """The folder, or the file of weights where ``place`` names one, in the Hub's cache.

    UnsupportedSAE where there is none, or where it is neither in the cache nor within reach.
    """
    single = Path(place.folder).suffix in ENDINGS
    folder, name = (str(Path(place.folder).parent), Path(place.folder).name) if single else (place.folder, "")
    with hub_errors(f"SAE '{spec}'", place.repo, no_file_line(spec, place.repo)):
        path = _first(place.repo, folder, (name,) if single else tuple(_BESIDE))
        for other in _BESIDE.get(path.name, _BESIDE["ae.pt"] if path.suffix == ".pt" else ()):
            _fetch_if_there(place.repo, folder, other)
    return path if single else path.parent


def _first(repo: str, folder: str, names: Sequence[str]) -> Path:
    """The first of these files that is there. What huggingface_hub raises where there is none."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    missing: EntryNotFoundError | None = None
    for name in names:
        try:
            return Path(hf_hub_download(repo, _inside(folder, name)))
        except EntryNotFoundError as error:
            # Without a network, what is not in the cache may still be on the Hub: that is what has to be said.
            missing = missing if isinstance(missing, LocalEntryNotFoundError) else error
    raise missing or EntryNotFoundError(f"no file in {folder}")


def _fetch_if_there(repo: str, folder: str, name: str) -> None:
    """Fetch one more file; whether its absence matters is decided by who reads the folder."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    up = name.startswith("../")
    if up and not folder:
        return
    with suppress(EntryNotFoundError):
        hf_hub_download(repo, _inside(str(Path(folder).parent) if up else folder, name.removeprefix("../")))


def _inside(folder: str, name: str) -> str:
    return name if folder in ("", ".") else f"{folder}/{name}"


def no_file_line(spec: str, repo: str) -> str:
    """The line for a repository without an SAE where one was looked for."""
    releases = sorted({row.release for row in registry().values() if row.repo == repo})
    way = (
        f"load it by release: {', '.join(releases[:3])}"
        if releases
        else f"expected one of {', '.join(_BESIDE)} there; a file in the plain form is named with its path"
    )
    return f"SAE '{spec}': {repo} has no SAE at that path; {way}"
