"""A read-only server, roots and logins: asked at the services' borders, with presses and links that were made by hand."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from viewing import opened, view

from app import shell
from app.deciding.class_sets import class_desk, class_sets
from app.deciding.lab import Lab
from app.deciding.presses import KINDS, PressLog, carry_out, read_presses
from app.jobs import judge as judge_job
from app.jobs import live_model
from app.jobs import recording as recording_job
from app.launch import Serving
from app.payloads.shift_lab import Asked, Seen, lab_payload
from app.services import access, ledger, loading, scoring, uploads, verdicts
from app.services.access import Access, ReadOnlyStore
from app.views.judge import blind as blind_view
from saeeval_core.config import RunConfig
from saeeval_core.errors import ConfigError, DataError
from saeeval_core.judging.command import JudgeOptions
from saeeval_core.judging.verdict import task_concepts
from saeeval_core.ledger.store import Store
from saeeval_core.scores.selections import Rule
from saeeval_core.texts.parts import DEV

pytestmark = pytest.mark.hostile
READS = {
    "list_sets", "decisions", "beyond", "ablated", "history", "note_look", "dev_looks", "find_verdict", "verdicts", "newest_verdict",
    "verdict_history", "raters", "open_batches", "commits", "carried_out", "close", "check_owner", "keep_backups", "story",
}  # fmt: skip
MADE = {"desk": "x", "choice": "mine", "task": "bios", "protocol": "robust", "seed": 0, "ablation": "mean", "n": 5}


@pytest.fixture
def loaded(planted_app):
    return opened(RunConfig())


@pytest.fixture
def rules():
    """Put rules in force; afterwards those of a laptop again."""
    yield lambda **fields: access.put(Access(**fields))
    access.put(Access())


def test_every_way_to_change_a_store_is_refused(tmp_path):
    Store(tmp_path / "s.sqlite")
    store = ReadOnlyStore(tmp_path / "s.sqlite")
    ways = {n for n in dir(Store) if not n.startswith("_") and callable(getattr(Store, n))} - READS
    assert {"decide", "undo", "commit", "create_set", "add_verdicts", "once"} <= ways
    for name in ways:
        with pytest.raises(DataError, match="read-only"):
            getattr(store, name)(1, "Ada", {})


@pytest.mark.parametrize("kind", KINDS)
def test_no_press_is_carried_out(loaded, rules, kind):
    rules(read_only=True)
    sent = {
        "client": "c",
        "seq": 1,
        "made": MADE,
        "kind": kind,
        "latents": [1],
        "decision": "ablate",
        "of": "",
        "reason": "",
    }
    log = PressLog()
    done, refused = carry_out(
        ledger.store(), log, read_presses({"log": [sent]}), find=lambda _: pytest.fail("looked up")
    )
    assert done == []
    assert "read-only" in str(refused)
    assert log.acks == {"c": 1}  # answered, so that the page says why it was not saved
    assert ledger.store().list_sets() == []


def test_nothing_is_run_sent_asked_or_read(loaded, rules):
    rules(read_only=True)
    ways = [
        lambda: recording_job.start(RunConfig()),
        lambda: judge_job.start(loaded, JudgeOptions("local", "top5", "")),
        lambda: live_model.read(loaded, "a text"),
        lambda: uploads.keep_upload("a.csv", b"text\na\n"),
        lambda: uploads.read_set(b"{}", 10, ("a", "b")),
        lambda: uploads.ratings_of(b"[]"),
        lambda: verdicts.rate(loaded, 1, "Ada", {}),
    ]
    for way in ways:
        with pytest.raises(DataError, match="read-only"):
            way()
    assert not uploads.uploads_dir().exists()


@pytest.mark.parametrize(
    "wanted",
    [{"saes": ("hub:org/repo",)}, {"saes": ("gpt2-small-res-jb/blocks.0.hook_resid_pre",)}, {"task": "bias_in_bios"},
     {"task": "", "texts": "hub:org/texts"}, {"task": "", "texts": "/etc/passwd"}],
)  # fmt: skip
def test_no_link_makes_a_read_only_server_fetch(rules, wanted):
    rules(read_only=True)
    with pytest.raises(ConfigError, match="read-only"):
        loading.load(replace(RunConfig(), **wanted))


@pytest.mark.parametrize("name", ["/etc/x.npz", "{root}/link", "{root}/../x.npz", "~/x.npz"])
def test_no_file_outside_the_roots_is_read_by_a_name_with_a_hook(rules, tmp_path, name):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to("/etc")
    rules(roots=(root.resolve(),))
    with pytest.raises(ConfigError, match="outside the folders"):
        loading.load(replace(RunConfig(), saes=(f"{name.format(root=root)}@blocks.1.hook_resid_post",)))


@pytest.mark.parametrize(
    "name", ["/etc", "..", "../x", "~", "~root", ".", "\\\\host\\share", "{root}/../other", "{root}x", "{root}/link"]
)
def test_no_folder_outside_the_roots_is_looked_into(rules, tmp_path, name):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to("/etc")
    rules(roots=(root.resolve(),))
    for wanted in ({"saes": (name.format(root=root),)}, {"model": name.format(root=root)}):
        with pytest.raises(ConfigError, match="outside the folders"):
            access.check(replace(RunConfig(), **wanted))


def test_a_folder_below_a_root_and_bundled_names_are_fine(rules, tmp_path):
    rules(roots=(tmp_path.resolve(),), read_only=True)
    access.check(replace(RunConfig(), saes=(str(tmp_path / "sae"),)))
    access.check(RunConfig())


def test_views_are_read_with_locked_controls(loaded, rules):
    rules(read_only=True)
    at = view("judge", {"tab": "blind"}, {"who": "Ada"})
    assert not at.exception
    assert next(b for b in at.button if b.label == "Ask").disabled
    ratings = {c.name: 0 for c in task_concepts(loaded.task_set)}
    rated = {"client": "page", "seq": 1, "latent": verdicts.blind_queue(loaded, "Ada")[0], "ratings": ratings}
    with pytest.raises(DataError, match="read-only"):
        blind_view.take(loaded, "Ada", rated)
    direction = scoring.shift_directions(loaded)[0]
    lab = Lab(loaded, direction, DEV, "Ada", "mine", "attribute", "mean", 5, Rule())
    assert "read-only" in lab_payload(lab, PressLog(), Seen(), Asked(), present=False).locked
    assert "read-only" in class_desk(loaded, class_sets(loaded, "mine", "Ada"), "Ada").locked
    for name in ("shift_lab", "tpp_matrix", "latents", "overview"):
        assert not view(name, {}, {"who": "Ada"}).exception
    assert ledger.store().list_sets() == []


def test_a_laptop_lets_everything_through(loaded):
    access.demand("deciding")
    assert access.why_not("deciding") == ""
    assert not isinstance(ledger.store(), ReadOnlyStore)


def test_the_name_is_the_accounts_and_nobody_elses(rules, monkeypatch):
    session = {"who": "somebody else"}
    user = SimpleNamespace(is_logged_in=True, get={"email": "ada@lab.example"}.get)
    monkeypatch.setattr(shell, "st", SimpleNamespace(user=user, session_state=session))
    assert shell._logged_in()
    assert session["who"] == "ada@lab.example"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"address": "0.0.0.0"}, "needs --origin"),
        ({"origins": ("lab",)}, "no address"),
        ({"origins": ("http://lab/app",)}, "no address"),
    ],
)
def test_serving_is_refused_where_its_address_is_unknown(fields, said):
    with pytest.raises(ConfigError, match=said):
        Serving(**fields).allowed()


def test_a_root_must_be_a_folder(tmp_path):
    with pytest.raises(ConfigError, match="is no folder"):
        Serving(roots=(tmp_path / "none",)).access(accounts=False)
    assert Serving(roots=(tmp_path,)).access(accounts=True) == Access(False, (tmp_path.resolve(),), True)
    assert Serving().access(accounts=False).roots == ()  # no folder at all, not any folder


def test_what_is_not_protected_is_said():
    lab = "https://lab.example.org"
    assert len(Serving("10.0.0.1").unprotected(accounts=False)) == 2
    assert Serving("10.0.0.1", origins=(lab,)).unprotected(accounts=True) == []
    assert "read every decision" in Serving(read_only=True).unprotected(accounts=False)[0]
    assert Serving().address == "127.0.0.1"
