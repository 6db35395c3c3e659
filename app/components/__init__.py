"""Browser components: each a folder of scripts and a style sheet, put together from constants of ours.

Streamlit takes one inline script per component, so the modules of a component are joined into one here. Data enters a
page through ``textContent`` only.
"""

import re
from pathlib import Path

from app import theme

_HERE = Path(__file__).parent
_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";\n', re.M)
_DECLARED = re.compile(r"^(export )?(?:async )?(?:function|const|let|class) ([\w$]+)", re.M)
_UNCLEAR = re.compile(r"^(?:export )?(?:(?:const|let) [\w$]+ =.*,|(?:const|let) [{[].*|var .*|export [{*].*)$", re.M)
"""Declarations whose names ``_DECLARED`` would not all see."""


class BundleError(Exception):
    """The scripts of a component do not fit together: a mistake in this repository."""


def script(entry: str, folder: Path = _HERE) -> str:
    """One script from a module and everything it imports, in the order of the imports; only ``export default`` is left.

    Modules import each other as ``import { a, b } from "./other.js";``. All names of the joined script share one scope.
    BundleError for a file or name that is not there, a circle of imports, a name that two files declare, or a statement
    that this cannot read.
    """
    done: dict[Path, str] = {}
    exported: dict[Path, set[str]] = {}
    owner: dict[str, Path] = {}

    def add(path: Path, above: tuple[Path, ...]) -> None:
        if path in above:
            raise BundleError(f"{path.name} imports itself by way of {', '.join(p.name for p in above)}")
        if path in done:
            return
        if not path.is_file():
            raise BundleError(f"{above[-1].name if above else entry} imports {path}, which is not there")
        text = path.read_text(encoding="utf-8")
        for names, source in _IMPORT.findall(text):
            other = (path.parent / source).resolve()
            add(other, (*above, path))
            _check_names(path, names, other, exported[other])
        exported[path] = _claim(path, text, owner)
        done[path] = _body(path, text, is_entry=not above)

    add((folder / entry).resolve(), ())
    return "\n".join(done.values())


def styles(root: str, *names: str) -> str:
    """Style sheets below this folder, after the colours of the elements that ``root`` matches and what all look alike in."""
    return theme.css(root) + "".join((_HERE / n).read_text(encoding="utf-8") for n in ("common/panel.css", *names))


def _check_names(path: Path, names: str, other: Path, known: set[str]) -> None:
    for name in filter(None, (n.strip() for n in names.split(","))):
        if name not in known:
            raise BundleError(f"{path.name} imports '{name}', which {other.name} does not export")


def _claim(path: Path, text: str, owner: dict[str, Path]) -> set[str]:
    """The names a module exports; all that it declares at its top go into ``owner``."""
    if unclear := _UNCLEAR.search(text):
        raise BundleError(f"{path.name}: one name per declaration, please: {unclear.group()}")
    found = _DECLARED.findall(text)
    for _, name in found:
        if name in owner:
            raise BundleError(f"'{name}' is declared by {owner[name].name} and by {path.name}")
        owner[name] = path
    return {name for marked, name in found if marked}


def _body(path: Path, text: str, *, is_entry: bool) -> str:
    """The module without its imports, and without the word "export" except for the entry's default."""
    body = re.sub(r"^export (?!default)", "", _IMPORT.sub("", text), flags=re.M)
    left = re.search(r"^import\b.*|^export\b.*" if not is_entry else r"^import\b.*", body, re.M)
    if left:
        raise BundleError(f"{path.name}: cannot join this statement: {left.group()}")
    return body.strip() + "\n"
