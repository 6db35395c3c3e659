"""The store: the decisions of people and judges in one SQLite file, with the types that its methods take and return.

Rows are never updated or deleted (triggers enforce it): the newest row per latent, or per latent and rater, is the
current one.
"""

from saeeval_core.ledger.commit_rows import Commit, CommitRows
from saeeval_core.ledger.connection import default_path
from saeeval_core.ledger.decisions import Decision, DecisionSet
from saeeval_core.ledger.press_rows import PressId, PressRows
from saeeval_core.ledger.story_rows import StoryRows
from saeeval_core.ledger.verdicts import OK, RATER_KINDS, Verdict, VerdictRows

__all__ = ["OK", "RATER_KINDS", "Commit", "Decision", "DecisionSet", "PressId", "Store", "Verdict", "default_path"]


class Store(CommitRows, VerdictRows, PressRows, StoryRows):
    """One open store: decision sets, commits, stories, verdicts and presses. Safe to share between threads and processes."""
