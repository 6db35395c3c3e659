"""Sets of somebody else: opened by a link, read and not changed, duplicated with their past, taken out and in again."""

import base64
import csv
import html
import io
import json
import re
import shlex

import pytest
from typer.testing import CliRunner
from viewing import opened, store_decisions, texts, view

from app.deciding import set_presses
from app.deciding.class_sets import class_sets
from app.deciding.desk import shift_place, tpp_place
from app.deciding.lab import Lab
from app.deciding.presses import PressLog
from app.deciding.tpp_page import TppPage
from app.payloads.shift_lab import Asked, Seen, lab_payload
from app.services import ledger, scoring
from app.widgets import export, shift_export, tpp_export
from saeeval_core.cli.main import app
from saeeval_core.config import RunConfig
from saeeval_core.ledger.decisions import Decision
from saeeval_core.ledger.places import looks_words, new_set
from saeeval_core.ledger.store import PressId
from saeeval_core.scores.selections import Rule
from saeeval_core.texts.parts import DEV

WIDTH = 256


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return opened(RunConfig())


@pytest.fixture
def direction(loaded):
    return scoring.default_direction(loaded, scoring.shift_directions(loaded)[0].pair)


@pytest.fixture
def adas(loaded, direction):
    """Ada's own set: four decisions, three dev scores seen."""
    store = ledger.store()
    made = new_set(store, shift_place(loaded, direction), "Ada", "mine", {5: "ablate", 17: "ablate", 3: "keep"})
    store.decide(made.id, "Ada", {33: "ablate"}, "pronouns")
    for ids in ([], [5], [5, 17]):
        store.note_look(made.id, "Ada", ids)
    return made


def lab_of(loaded, direction, who, choice="mine", ablation="mean"):
    return Lab(loaded, direction, DEV, who, choice, "attribute", ablation, 5, Rule())


def payload(lab):
    return lab_payload(lab, PressLog(), Seen(), Asked(), present=False)


def test_a_colleague_sees_exactly_the_set_of_the_link_and_cannot_change_it(loaded, direction, adas):
    link = {"pair": direction.pair, "target": direction.task.target.column, "shift_set": str(adas.id)}
    at = view("shift_lab", link, {"who": "Bob"})
    assert not at.exception and not at.error and "belongs to Ada" in texts(at).replace("\\", "")
    theirs, hers = (payload(lab_of(loaded, direction, who, str(adas.id))) for who in ("Bob", "Ada"))
    assert theirs.decisions == hers.decisions and theirs.score.score == hers.score.score
    assert theirs.score.set_name == hers.score.set_name == "mine (Ada)"
    assert "belongs to Ada" in theirs.locked and not hers.locked and not theirs.record.can_commit
    assert ledger.store().dev_looks(adas.id) == 4  # Ada's look at it as it is now, and none of Bob's


def test_the_owner_opens_the_same_link_and_goes_on(loaded, direction, adas):
    at = view("shift_lab", {"shift_set": str(adas.id)}, {"who": "Ada"})
    assert not at.exception and "belongs to" not in texts(at) and at.session_state["view"]["shift_set"] == str(adas.id)
    assert not at.session_state["unusable"]


def test_the_share_box_names_the_set_by_its_number(loaded, direction, adas):
    at = view("shift_lab", {"n": "5"}, {"who": "Ada"})
    (link,) = [c.value for c in at.code if "shift_set" in c.value]
    assert f"shift_set={adas.id}" in link and "n=5" in link and f"target={direction.task.target.column}" in link
    store_decisions(loaded, class_sets(loaded, "drafts", "Ada"), 1, {7: "ablate"}, "Ada")
    at = view("tpp_matrix", {"tpp_set": "drafts"}, {"who": "Ada"})
    number = class_sets(loaded, "drafts", "Ada").stored[0][1].id
    assert any(f"tpp_set=set%3A{number}" in c.value for c in at.code)
    at = view("shift_lab", {}, {"who": "Eve"})
    assert not any("shift_set" in c.value for c in at.code) and "Nothing is decided yet" in texts(at)


def test_duplicating_keeps_who_decided_what_and_the_looks(loaded, direction, adas):
    at = view("shift_lab", {"shift_set": str(adas.id)}, {"who": "Bob"})
    at.button(key="w_dup_theirs").click().run()
    assert not at.exception and not at.error
    copy = ledger.store().list_sets()[-1]
    assert (copy.name, copy.who, copy.copied_from) == ("copy of mine", "Bob", adas.id)
    assert at.session_state["view"]["shift_set"] == str(copy.id) and "belongs to" not in texts(at)
    log = ledger.store().history(copy.id)
    assert {d.who for d in log} == {"Ada"} and log[-1].reason == "pronouns"
    assert ledger.store().dev_looks(copy.id) >= 3


def test_a_tpp_set_of_a_colleague_is_duplicated_with_its_past(loaded):
    store_decisions(loaded, class_sets(loaded, "drafts", "Ada"), 1, {7: "ablate"}, "Ada")
    theirs = class_sets(loaded, "drafts", "Ada")
    number = theirs.stored[0][1].id
    ledger.store().note_look(number, "Ada", [7])
    at = view("tpp_matrix", {"tpp_set": f"set:{number}"}, {"who": "Bob"})
    assert "belongs to Ada" in texts(at).replace("\\", "")
    at.button(key="w_tpp_dup").click().run()
    assert not at.exception and not at.error
    copy = class_sets(loaded, at.session_state["view"]["tpp_set"], "Bob")
    assert copy.mine and copy.name == "copy of drafts" and copy.decisions == theirs.decisions
    assert [d.who for d in ledger.store().history(copy.stored[0][1].id)] == ["Ada"]
    assert ledger.store().dev_looks(copy.stored[0][1].id) >= 1


def test_a_set_can_always_be_taken_out_or_says_why_not(loaded, adas):
    def locked(at) -> list[bool]:
        return [b.proto.disabled for b in at.get("download_button") if b.proto.label in ("Set (JSON)", "Set (CSV)")]

    assert locked(view("shift_lab", {}, {"who": "Eve"})) == [True, True]
    assert locked(view("shift_lab", {}, {"who": "Ada"})) == [False, False]
    assert locked(view("tpp_matrix", {}, {"who": "Eve"})) == [True, True]


def test_numbers_are_numbers_in_columns_of_their_own(loaded, direction, adas):
    lab = lab_of(loaded, direction, "Ada")
    rows = shift_export._rows(lab, shift_export._ranked(lab), shift_export._you(lab))
    text = export.csv_text(shift_export._numbers("dev", rows))
    rows = list(csv.DictReader(io.StringIO(text)))
    mine, score = rows[-1], scoring.set_score(lab.view, lab.ablated(), "mean").score
    assert mine["set"] == "this set" and float(mine["S"]) == pytest.approx(score.value)
    assert (float(mine["S_low"]), float(mine["S_high"])) == pytest.approx(score.ci)
    assert all(float(r["accuracy"]) and int(r["n"]) >= 0 for r in rows)
    place = direction.pair, direction.task.target.column, lab.part
    read = scoring.fresh(scoring.shift_erasure(loaded, *place), lab.ablated())
    assert (float(mine["E"]), float(mine["R"])) == pytest.approx((read.score.value, read.recoverability.value))
    assert float(mine["edit_size"]) == pytest.approx(
        scoring.sizes_of_edits(loaded, *place, lab.ablated(), [int(mine["n"])])[0]
    )
    assert shift_export.ERASED in shift_export.report(lab)


def test_file_names_tell_sets_apart(loaded, direction, adas):
    names = [shift_export._file_name(lab_of(loaded, direction, w, c)) for w, c in (("Ada", "mine"), ("Bob", "mine"))]
    assert len(set(names)) == 2 and names[0].endswith("_mine_Ada") and direction.task.target.column in names[0]
    assert export.file_name("a/b", " x ", "Å", "..") == "a-b_x"


def test_an_import_says_that_looks_are_unknown_and_keeps_who_decided(loaded, direction, adas):
    lab, store = lab_of(loaded, direction, "Ada"), ledger.store()
    made = shift_export._exported(lab)
    assert (made.owner, made.dev_looks, len(made.log)) == ("Ada", 3, 4)
    for write in (export.set_to_json, export.set_to_csv):
        found, _ = export.read_set(loaded, "shift", made.task, write(made).encode())
        assert found.dev_looks == 3
    old = json.loads(export.set_to_json(made))
    for name in ("dev_looks", "owner", "log"):
        del old[name]
    looks = []
    for k, text in enumerate((json.dumps(old), export.set_to_json(made))):
        found, _ = export.read_set(loaded, "shift", made.task, text.encode())
        stored = set_presses.import_set(store, PressId("b", k, "Bob", "import"), [lab.place], found).first
        looks.append(store.list_sets()[-1].looks_before)
        assert "Ada" in store.history(stored.id, 33)[0].reason and "pronouns" in store.history(stored.id, 33)[0].reason
    assert looks == [None, 3]
    again = shift_export._exported(lab_of(loaded, direction, "Bob", str(stored.id)))
    assert {d.rater_kind for d in again.decisions} == {"imported"} and {d.rater_kind for d in made.decisions} == {
        "human"
    }
    card = payload(lab_of(loaded, direction, "Bob", str(stored.id)))
    assert card.record.looks.startswith("4 dev looks, 3 of them before")
    assert "unknown number" in looks_words(2, None) and looks_words(2, 0) == "2 dev looks"


@pytest.mark.parametrize("metric", ["shift", "tpp"])
def test_an_import_brings_the_log_with_it_and_calls_nobody_of_here_its_author(loaded, direction, metric):
    store = ledger.store()
    if metric == "shift":
        places = [shift_place(loaded, direction)]
        parts = [("", new_set(store, places[0], "Ada", "mine"))]
    else:
        places = [tpp_place(loaded, c) for c in loaded.task_set.tpp[1][:2]]
        parts = [(p.direction, new_set(store, p, "Ada", "mine")) for p in places]
    for of, own in parts:
        store.decide(own.id, "Ada", {5: "ablate", 7: "keep"}, f"first {of}".strip())
        store.undo(own.id, "Ada")
        store.decide(own.id, "Ada", {5: "unsure"})
        store.decide(own.id, "Ada", {5: "ablate"}, "surely")
    made = export.exported(loaded, "mine", metric, places[0].task, parts)
    found, warnings = export.read_set(loaded, metric, made.task, export.set_to_json(made).encode())
    assert found.log == made.log and not warnings
    done = set_presses.import_set(store, PressId("b", 1, "Bob", "import"), places, found)
    assert (done.stored, done.steps) == (len(parts), 6 * len(parts))
    copies = [s for s in store.list_sets() if s.who == "Bob"]
    for copy, (_, own) in zip(copies, parts, strict=True):
        theirs, log = store.history(own.id), store.history(copy.id)
        assert [(d.latent, d.old, d.new) for d in log] == [(d.latent, d.old, d.new) for d in theirs]
        assert {d.who for d in log} == {"Bob"} and all(d.reason.startswith("imported: Ada 20") for d in log)
        assert log[-1].reason.endswith("surely") and "took back" in log[2].reason and "first" in log[0].reason
    again = export.exported(
        loaded, "mine", metric, places[0].task, [(p.direction, s) for p, s in zip(places, copies, strict=True)]
    )
    assert {d.rater_kind for d in again.decisions} == {"imported"}
    store.undo(copies[0].id, "Bob")  # the import is one step
    assert store.decisions(copies[0].id, WIDTH) == {}
    assert [d.old for d in store.history(copies[0].id)[-6:] if d.latent == 5] == ["ablate", "unsure", "none", "ablate"]


def ran(command: str, folder, monkeypatch) -> dict:
    """The JSON of a command as the page shows it, run beside the exported set."""
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    return json.loads((folder / "result.json").read_text())["results"][0]


def taken_from(report: str, folder) -> str:
    """The command of a report, with the file that it reads laid beside it."""
    name, inside = re.search(r"download='([^']+)' href='data:application/json;base64,([^']+)'", report).groups()
    (folder / html.unescape(name)).write_bytes(base64.b64decode(inside))
    return html.unescape(re.search(r"<pre class='command'>(.*?)</pre>", report)[1])


@pytest.mark.parametrize("ablation", ["mean", "zero"])
def test_the_command_beside_the_number_gives_the_number(loaded, direction, adas, ablation, tmp_path, monkeypatch):
    lab = lab_of(loaded, direction, "Bob", str(adas.id), ablation)
    command = taken_from(shift_export.report(lab), tmp_path)
    assert command == shift_export.command(lab)
    monkeypatch.setenv("SAEEVAL_STORE", str(tmp_path / "another machine.sqlite"))
    found = ran(command, tmp_path, monkeypatch)
    (here,) = [
        d
        for d in found["shift"]["directions"]
        if (d["pair"], d["target"]) == (lab.direction.pair, direction.task.target.column)
    ]
    cell = here["by_n"][0]["dev"]
    expected = scoring.set_score(lab.view, (5, 17, 33), ablation).score
    got = cell[shift_export._FIELDS[ablation]]
    assert (got["value"] if isinstance(got, dict) else got) == pytest.approx(expected.value)


def test_the_command_beside_the_matrix_gives_the_matrix(loaded, tmp_path, monkeypatch):
    top = int(scoring.tpp_view(loaded, DEV).rankings[1][0])
    store_decisions(loaded, class_sets(loaded, "drafts", "Ada"), 1, {7: "ablate", top: "keep"}, "Ada")
    page = TppPage(loaded, DEV, "Ada", class_sets(loaded, "drafts", "Ada"), 4, "mean")
    found = ran(taken_from(tpp_export.report(page), tmp_path), tmp_path, monkeypatch)["tpp"]["by_n"][0]
    assert found["n"] == 4 and [tuple(sorted(i)) for i in page.ids] == [tuple(i) for i in found["ids"]]
    assert found["dev"]["mean_ablation"]["score"] == pytest.approx(page.score.score.value)


def test_a_set_of_another_sae_or_no_set_is_one_line(loaded, direction, adas, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = export.set_to_json(shift_export._exported(lab_of(loaded, direction, "Ada")))
    (tmp_path / "other.json").write_text(good.replace(loaded.latents.sae_fingerprint, "0" * 16))
    (tmp_path / "wide.json").write_text(good.replace('"latent": 33', '"latent": 99999'))
    (tmp_path / "odd.json").write_text("{")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    for name, why in (
        ("other.json", "choose that SAE first"),
        ("wide.json", "latent 99999 does not exist"),
        ("odd.json", "not valid JSON"),
        ("bytes.json", "not UTF-8"),
        ("none.json", "is no file"),
    ):
        done = CliRunner().invoke(app, ["run", "--metrics", "shift", "--select", f"set:{name}", "--no-controls"])
        assert done.exit_code != 0 and why in str(done.exception) and "\n" not in str(done.exception)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("clearly pronouns", "human"),
        ("", "human"),
        (f"{set_presses.IMPORTED} Ada 2026-11-01", "imported"),
        (f"{set_presses.SEARCHED} (S, dev)", "search"),
        ("reset to top 20", "ranking"),
        ("reset to judge, claude-haiku (llm): top 20 related to gender", "judge"),
    ],
)
def test_a_decision_that_followed_a_list_is_not_exported_as_a_persons(reason, kind):
    decision = Decision(1, 1, "Ada", "2026-11-27 06:00:00", 3, "none", "ablate", reason, "", None)
    assert export._kind(decision) == kind
