"""Browser components: each a folder of scripts and a style sheet, put together from constants of ours.

Data enters a page through ``textContent`` only.
"""

from pathlib import Path

_HERE = Path(__file__).parent


def source(*names: str) -> str:
    """The files of these names below this folder, one after another."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)
