"""The decision store of this server."""

from pathlib import Path

from app.services import access
from app.services.shared import shared
from saeeval_core.ledger.connection import default_path
from saeeval_core.ledger.store import Store


@shared(max_entries=1)
def _store(path: str) -> Store:
    opened = Store(Path(path))
    opened.keep_backups()
    return opened


def store() -> Store:
    """The decision store of this server, for what people do: on a read-only server it refuses to be changed."""
    return (_locked_store if access.rules().read_only else _store)(str(default_path()))


def own_store() -> Store:
    """The same for what the server itself keeps, such as the verdicts that come with the bundle."""
    return _store(str(default_path()))


@shared(max_entries=1)
def _locked_store(path: str) -> Store:
    return access.ReadOnlyStore(Path(path))
