"""An SAE that was sent as a file or a zip of its folder: kept or unpacked within bounds, never outside its own folder."""

import hashlib
import re
import shutil
import stat
import zipfile
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.storage.artifacts import write_atomic

KINDS = (".json", ".safetensors", ".npz", ".pt")
"""Endings of the files of an SAE; others in the zip are left out. Weights are read as plain tensors, never executed."""
MOST_FILES = 1_000
"""Entries of a zip."""
LARGEST = 4 << 30
"""Bytes of all files when unpacked."""
SINGLE = (".npz", ".safetensors")
"""Endings of files that hold a whole dictionary."""
_BLOCK = 1 << 20


def keep_sent(name: str, content: bytes, into: Path) -> Path:
    """The file or the unpacked folder of an SAE that was sent, in a folder of its own below ``into``.

    Equal files get the same place, named by their content. UnsupportedSAE as ``unpack_sae``.
    """
    ending = PurePosixPath(name).suffix.lower()
    if ending not in SINGLE:
        return unpack_sae(name, content, into)
    file = into / f"{_safe(name)}-{hashlib.sha256(content).hexdigest()[:8]}" / f"{_safe(name)}{ending}"
    if not file.is_file():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, content)
        except OSError as error:
            raise UnsupportedSAE(f"'{name}' cannot be stored ({error.strerror or error}); free some space") from None
    return file


def unpack_sae(name: str, content: bytes, into: Path) -> Path:
    """Unpack the one SAE folder in a zip into a folder of its own below ``into``, and return that.

    ``name`` is the file's own name. Equal files get the same folder, named by their content. UnsupportedSAE for what is
    no zip, is encrypted, too large, holds links or paths that lead outside, or not exactly one folder of SAE files.
    """
    folder = into / f"{_safe(name)}-{hashlib.sha256(content).hexdigest()[:8]}"
    if folder.is_dir():
        return folder
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            found = _members(name, archive)
            into.mkdir(parents=True, exist_ok=True)
            making = Path(mkdtemp(prefix=".unpacking-", dir=into))
            try:
                left = LARGEST
                for member in found:
                    left = _copy(name, archive, member, making / PurePosixPath(member.filename).name, left)
                making.rename(folder)
            finally:
                shutil.rmtree(making, ignore_errors=True)
    # What zipfile raises for damaged, encrypted and unknown kinds of compression.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise UnsupportedSAE(f"'{name}' cannot be unpacked ({error}); zip the SAE's folder again") from None
    except OSError as error:
        raise UnsupportedSAE(f"'{name}' cannot be stored ({error.strerror or error}); free some space") from None
    return folder


def _members(name: str, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files of the one folder that holds SAE files."""
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise UnsupportedSAE(f"'{name}' holds {len(entries):,} files; zip the folder of one SAE")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in entry.filename or stat.S_ISLNK(entry.external_attr >> 16):
            raise UnsupportedSAE(f"'{name}' holds a link or a path that leads outside it; zip the SAE's folder again")
    found = [e for e in entries if not e.is_dir() and PurePosixPath(e.filename).suffix in KINDS]
    found = [e for e in found if not e.filename.startswith("__MACOSX/")]
    folders = {str(PurePosixPath(e.filename).parent) for e in found}
    if len(folders) != 1:
        what = f"SAE files in {len(folders)} folders" if folders else "no cfg.json and weights"
        raise UnsupportedSAE(f"'{name}' holds {what}; zip the folder of one SAE")
    if sum(e.file_size for e in found) > LARGEST:
        raise UnsupportedSAE(
            f"'{name}' takes more than {LARGEST >> 30} GiB when unpacked; give its folder's path instead"
        )
    return found


def _copy(name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo, to: Path, left: int) -> int:
    """Write one file, counting what really comes out; the bytes that are left."""
    with archive.open(member) as source, to.open("xb") as file:
        while block := source.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise UnsupportedSAE(f"'{name}' unpacks to more than it says; zip the SAE's folder again")
            file.write(block)
    return left


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(name).stem).strip(".-")[:60] or "sae"
