"""How test files are shared out among workers: what takes longest begins first, and one worker has the browser tests."""

from pathlib import PurePosixPath

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

LONGEST = ("test_names_in_pages.py", "browser", "test_golden.py", "faults")
"""Folders and files that begin before the others. xdist's own order is by the number of tests, so few long ones come last,
and one worker ends alone. The first has a Chromium of its own, which has to be gone when a worker opens the one of others."""
APART = "test_browser_read_only.py"
"""As long as all other browser tests of its suite together: with them, one worker would end minutes after the other."""


class Files(LoadFileScheduling):
    """Whole files, as ``--dist loadfile``.

    Browser tests, but for one file, share one server and one Chromium, and wait more than they compute: the other workers
    have the cores meanwhile, and browsers seldom slow each other down.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        parts = PurePosixPath(file).parts
        return "browser" if "browser" in parts and APART not in parts else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=rank), last=False)
        super()._assign_work_unit(node)


def rank(file: str) -> int:
    """Place in LONGEST, or after all of them."""
    parts = PurePosixPath(file).parts
    return next((i for i, name in enumerate(LONGEST) if name in parts), len(LONGEST))
