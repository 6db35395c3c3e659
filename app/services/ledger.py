"""The decision store of this server."""

from pathlib import Path

from app.services.shared import shared
from saeeval_core.ledger.connection import default_path
from saeeval_core.ledger.store import Store


@shared(max_entries=1)
def _store(path: str) -> Store:
    opened = Store(Path(path))
    opened.keep_backups()
    return opened


def store() -> Store:
    """The decision store of this server."""
    return _store(str(default_path()))
