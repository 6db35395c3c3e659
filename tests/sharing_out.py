"""How test files are shared out among workers: what takes longest begins first, and one worker has all browser tests."""

from pathlib import PurePosixPath

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

LONGEST = ("browser", "test_names_in_pages.py", "test_golden.py", "faults")
"""Folders and files that begin before the others. xdist's own order is by the number of tests, so few long ones come last,
and one worker ends alone. The second has a Chromium of its own, which two of in one worker would be one too many."""


class Files(LoadFileScheduling):
    """Whole files, as ``--dist loadfile``.

    Browser tests share one server and one Chromium, and wait more than they compute: the other workers have the cores
    meanwhile, and no two browsers slow each other down.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "browser" if rank(file) == 0 else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=rank), last=False)
        super()._assign_work_unit(node)


def rank(file: str) -> int:
    """Place in LONGEST, or after all of them."""
    parts = PurePosixPath(file).parts
    return next((i for i, name in enumerate(LONGEST) if name in parts), len(LONGEST))
