"""What the name of an SAE stands for: told from the name, the files here and SAELens's list, before anything is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from saeeval_core.errors import ConfigError, UnsupportedSAE
from saeeval_core.models.memory_names import memory_label, was_in_memory
from saeeval_core.saes.local import inspect_sae, local_path
from saeeval_core.saes.placed import placed, split
from saeeval_core.saes.registry import SaeInfo
from saeeval_core.saes.releases import RegistryRow, nearest, registry


@dataclass(frozen=True)
class HubPlace:
    """A folder in a repository of the Hugging Face Hub that is not in SAELens's registry."""

    repo: str
    """organisation/name"""
    folder: str
    """Path inside; "" is the top."""


Asked = SaeInfo | RegistryRow | HubPlace
"""An SAE on this machine, one of SAELens's registry, or a place on the Hub that only the Hub knows more about."""


def what_is(spec: str, search: Sequence[Path] | None = None) -> Asked:
    """What ``spec`` names. UnsupportedSAE for a name that stands for nothing, with the nearest ones.

    It is tried as: a bundled name, a local folder or file, ``release/sae_id`` or ``release:sae_id`` of SAELens's registry, and
    ``hub:org/repo[/folder]`` or ``org/repo[/folder]`` on the Hugging Face Hub; each may end in ``@HOOK``.
    """
    if memory_label(spec):
        raise UnsupportedSAE(was_in_memory("SAE", spec, "save it (docs/dictionaries.md) and name the folder or file"))
    if not spec.startswith("hub:") and local_path(spec, search) is not None:
        return inspect_sae(spec, search)
    spec = split(spec).name
    if spec.startswith("hub:"):
        return _place(spec, spec.removeprefix("hub:"))
    release, _, sae_id = spec.replace(":", "/", 1).partition("/")
    if row := registry().get((release, sae_id)):
        return row
    releases = {row.release for row in registry().values()}
    looks_like_repo = "/" in spec and ":" not in spec and release not in releases
    if not looks_like_repo or get_close_matches(release, releases, n=1, cutoff=0.85):
        raise UnsupportedSAE(nearest(spec, search))
    return _place(spec, spec)


def with_hooks(specs: Sequence[str], hook: str, read_hook: str) -> tuple[str, ...]:
    """The names, with the hooks for every dictionary whose own files name none.

    ConfigError where no dictionary takes the hooks; UnsupportedSAE for a name that stands for nothing.
    """
    if read_hook and not hook:
        raise ConfigError(f"--read-hook {read_hook} goes with --hook, the hook that the dictionary writes")
    if not hook:
        return tuple(specs)
    named = {s: asked.hook for s in specs if isinstance(asked := what_is(s), SaeInfo | RegistryRow) and asked.hook}
    if len(named) == len(set(specs)):
        first, own = next(iter(named.items()))
        raise ConfigError(f"--hook is for dictionaries that name no hook, but SAE '{first}' reads {own}; leave it out")
    return tuple(s if s in named else placed(s, hook, read_hook) for s in specs)


def _place(spec: str, path: str) -> HubPlace:
    org, _, rest = path.partition("/")
    name, _, folder = rest.strip("/").partition("/")
    if not org or not name or {".", ".."} & set(path.split("/")):
        raise UnsupportedSAE(f"'{spec}' is not a Hub repository; expected hub:org/repo or hub:org/repo/folder")
    return HubPlace(f"{org}/{name}", folder)
