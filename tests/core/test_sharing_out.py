"""Test files reach the workers in the order that keeps both busy to the end."""

from collections import OrderedDict

import pytest
from sharing_out import Files, rank
from xdist.scheduler import LoadFileScheduling

BROWSER = ("tests/browser/test_browser_tpp.py::test_a", "tests/browser/test_browser_team.py::test_b")


@pytest.fixture
def files() -> Files:
    return Files.__new__(Files)


def test_browser_tests_but_the_longest_are_one_piece_and_every_other_file_is_its_own(files):
    assert {files._split_scope(n) for n in BROWSER} == {"browser"}
    longest = "tests/browser/test_browser_read_only.py"
    assert files._split_scope(f"{longest}::test_a") == longest
    assert files._split_scope("tests/core/test_golden.py::test_c[x]") == "tests/core/test_golden.py"


def test_what_takes_longest_is_given_out_first_and_the_rest_as_xdist_has_it(files, monkeypatch):
    given = []
    monkeypatch.setattr(
        LoadFileScheduling, "_assign_work_unit", lambda self, _: given.append(self.workqueue.popitem(last=False)[0])
    )
    queue = [
        "tests/core/many.py",
        "tests/faults/test_a.py",
        "tests/core/few.py",
        "tests/core/test_golden.py",
        "browser",
        "tests/hostile/test_names_in_pages.py",
    ]
    files.workqueue = OrderedDict((name, {}) for name in queue)
    while files.workqueue:
        files._assign_work_unit(None)
    assert given == [queue[5], queue[4], queue[3], queue[1], queue[0], queue[2]]
    assert rank("tests/core/test_browser_like.py") == rank("tests/core/few.py")
