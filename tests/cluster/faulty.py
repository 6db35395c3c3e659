"""A worker that fails where a test tells it to: by files in a folder that its nodes know, each used once."""

import os
import signal
from pathlib import Path
from typing import Any

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.sweep.remote import Slot

FOLDER, NODE = "SAEEVAL_TEST_FAULTS", "SAEEVAL_TEST_NODE"
BROKEN = "the file cannot be read on this node"


def die(*_args: Any, **_more: Any) -> None:
    """As when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


class FaultySlot(Slot):
    """The same, with faults."""

    def perform(self, kind: str, unit: str, texts: list[Any], files: Any) -> tuple[str, dict[str, bytes]]:
        """As ``Slot``, but for what was asked for."""
        asked = Path(os.environ[FOLDER])
        with (asked / "performed").open("a") as log:
            log.write(f"{kind}\n")
        if _taken(asked / f"kill-{kind}"):
            _kill_inside(kind)
        if (asked / f"broken-on-{os.environ[NODE]}").exists():
            _break_topk()
        return super().perform(kind, unit, texts, files)


def _taken(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _kill_inside(kind: str) -> None:
    """Once the unit is under way."""
    from saeeval_core.recordings import recorder
    from saeeval_core.sweep.rows import Scorer

    if kind == "ScoreUnit":
        Scorer._tpp = die  # type: ignore[method-assign]
    else:
        recorder._residual_recording = die  # type: ignore[assignment]


def _break_topk() -> None:
    from saeeval_core.saes import loaded

    plain = loaded.load_sae

    def load(sae: str, **more: Any) -> Any:
        if sae.endswith("topk"):
            raise UnsupportedSAE(BROKEN)
        return plain(sae, **more)

    loaded.load_sae = load
