"""The store: what people and judges decided, in one SQLite file, with the types that its methods take and return.

Nothing is updated or deleted (triggers see to it): the newest row per latent, or per latent and rater, is the current one.
"""

from saeeval_core.ledger.commit_rows import Commit, CommitRows
from saeeval_core.ledger.connection import default_path
from saeeval_core.ledger.decisions import Decision, DecisionSet
from saeeval_core.ledger.verdicts import OK, RATER_KINDS, Verdict, VerdictRows

__all__ = ["OK", "RATER_KINDS", "Commit", "Decision", "DecisionSet", "Store", "Verdict", "default_path"]


class Store(CommitRows, VerdictRows):
    """One open store: decision sets, commits and verdicts. Safe to share between threads and processes."""
