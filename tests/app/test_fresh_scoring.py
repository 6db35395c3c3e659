"""Fresh probes as the services hand them out: one answer per set, shared, and the same as a run's."""

import pytest
from synthetic import make_loaded

from app.services import scoring
from saeeval_core.errors import DataError
from saeeval_core.texts.parts import DEV, TEST


@pytest.fixture(scope="module")
def loaded():
    return make_loaded(600)


def test_a_set_of_a_direction(loaded):
    d = scoring.shift_directions(loaded)[0]
    view = scoring.shift_erasure(loaded, d.pair, d.task.target.column, DEV)
    found = scoring.fresh(view, (12, 13))
    assert found is scoring.fresh(view, (12, 13)) and found.n_ablated == 2
    assert found.score.value == view.score([13, 12]).score.value
    assert view is scoring.shift_erasure(loaded, d.pair, d.task.target.column, DEV)
    assert view is not scoring.shift_erasure(loaded, d.pair, d.task.target.column, TEST)
    with pytest.raises(DataError, match="no direction"):
        scoring.shift_erasure(loaded, d.pair, "nothing", DEV)


def test_one_set_per_class(loaded):
    view = scoring.tpp_erasure(loaded, DEV)
    found = scoring.fresh_matrix(view, ((0, 1), (4, 5), (8, 9)))
    assert found.n_ablated == (2, 2, 2) and len(found.matrix) == 3
    assert found is scoring.fresh_matrix(view, ((0, 1), (4, 5), (8, 9)))
