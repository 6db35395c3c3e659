"""Stories: steps from a committed set's log, a person's own order and sentences, one offline deck."""

import re

import pytest
from viewing import opened, view

from app.components import story as story_component
from app.deciding.desk import shift_place
from app.deciding.lab import Lab
from app.services import access, ledger, scoring
from app.services.access import Access
from app.stories.deck import deck_html
from app.stories.extra_steps import Address, link_step, made_steps, own_steps
from app.stories.plan import Plan, Slide, Step
from app.stories.shift_steps import ShiftStory
from app.views import story as story_view
from saeeval_core.config import RunConfig
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.ledger.commit_set import commit_set
from saeeval_core.ledger.places import own_set
from saeeval_core.scores.selections import Rule
from saeeval_core.texts.parts import DEV

HOSTILE = "<script>window.hacked = 1</script> 'q' & \"r\""
KEYS = ["data", "cheats", "latent", "ablate", "rest", "against", "test", "trust", "matrix", "link"]


@pytest.fixture
def loaded(planted_app):
    return opened(RunConfig())


@pytest.fixture
def story(loaded):
    direction = scoring.shift_directions(loaded)[0]
    chosen = own_set(ledger.store(), shift_place(loaded, direction), "Ada", "mine")
    for latent, reason in ((17, HOSTILE), (5, ""), (33, "fires on names")):
        ledger.store().decide(chosen.id, "Ada", {latent: "ablate"}, reason)
    evaluation = scoring.evaluation(loaded)
    commit_set(ledger.store(), evaluation, loaded.latents, chosen, "Ada", ablation="mean", n=20)
    lab = Lab(loaded, direction, DEV, "Ada", str(chosen.id), "attribute", "mean", 20, Rule())
    store = ledger.store()
    return ShiftStory(lab, store.commits(chosen.id)[-1], tuple(store.history(chosen.id)))


def told(story, plan=None):
    now = plan or Plan()
    made = made_steps(story, link_step(story, "http://here/shift?n=1", "saeeval run"))
    return now.applied(made, own_steps(now, story))


def test_a_committed_set_is_told_from_the_texts_to_the_link(story):
    steps = told(story)
    assert [s.key.partition(":")[0] for s in steps] == KEYS
    assert all(s.sentence and s.title and s.frames for s in steps)
    by_key = {s.key.partition(":")[0]: s for s in steps}
    assert "test texts" in by_key["test"].sentence and "dev" in by_key["cheats"].sentence
    assert len(by_key["rest"].frames) == 3 and len(by_key["ablate"].frames) == 2  # one latent more in each picture
    assert by_key["rest"].notes == (f"17, ablate: {HOSTILE} (Ada)", "33, ablate: fires on names (Ada)")
    assert story.ordered == (17, 5, 33)  # as decided


def test_the_bars_of_the_story_are_the_scores_of_the_lab(story):
    view_of, board = story.lab.view.mean_ablated, story.lab.view.board
    found = board.in_each_quadrant(view_of.removed(story.commit.ids))
    score = view_of.score(story.commit.ids)
    assert sum(e.value for e in found) / 4 == pytest.approx(score.accuracy.value)
    assert min(e.value for e in found) == pytest.approx(score.worst_group.value)


def test_a_deck_is_one_offline_file_in_which_nothing_of_the_texts_runs(story):
    page = story_component.as_file(deck_html(told(story), out="All steps"), "a &amp; b")
    assert page.count("<script") == 1 and "&lt;script&gt;" in page and "import " not in page.split("<script")[1]
    assert not re.search(r"(src|@import|url\()\s*=?\s*['\"]?(https?:)?//", page)
    assert len(page) < 500_000 and "28px" in page


def test_order_sentences_and_steps_of_ones_own_are_kept(story):
    steps = told(story)
    plan = Plan().started(steps).moved("test", -6).without("cheats").said("data", "Look at these texts.")
    plan = plan.pinned("Mine", "A latent I like.", "http://here/latents?latent=5").pinned("Text alone", HOSTILE, "")
    store = ledger.store()
    store.keep_story(story.commit.set_id, "Bob", plan.to_json())
    assert store.story(story.commit.set_id, "Ada") == ""
    kept = Plan.of_json(store.story(story.commit.set_id, "Bob"))
    assert kept == plan
    again = told(story, kept)
    assert [s.key for s in again][:2] == ["test", "data"] and "cheats" not in [s.key for s in again]
    assert again[1].sentence == "Look at these texts."
    assert "latent 5" in again[-2].frames[0] and again[-1].frames == () and again[-1].sentence == HOSTILE


def test_a_slide_stays_within_the_ends():
    plan = Plan((Slide("a"), Slide("b")))
    assert plan.moved("a", -1) == plan and [s.key for s in plan.moved("a", 5).slides] == ["b", "a"]


@pytest.mark.parametrize("text", ["{", '{"a": 1}', '[{"other": 1}]', "[1]", '["x"]'])
def test_a_damaged_plan_is_one_line(text):
    with pytest.raises(ArtifactError, match="make the story again"):
        Plan.of_json(text)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "file:///etc/passwd", "", "shift?n=1", "http://[x"])
def test_only_links_of_views_are_pinned(link):
    with pytest.raises(DataError, match="is no link"):
        Address.of(link)


def test_a_step_without_a_figure_and_hostile_words_are_inert():
    html = deck_html([Step("pin:1", HOSTILE, HOSTILE, (), (HOSTILE,))], out=HOSTILE)
    assert "<script" not in html and html.count("&lt;script&gt;") == 4


def test_the_view_says_what_a_story_needs(loaded):
    at = view("story")
    assert not at.exception and "commit one in the SHIFT lab" in at.info[0].value


def test_the_view_tells_the_set_and_stores_what_is_changed(story):
    at = view("story", {"step": "2"}, {"who": "Bob"})
    assert not at.exception and at.text_area[0].label == "What step 2 of 10 says"
    at.text_area[0].set_value("It looks at the job.").run()
    assert not at.exception and at.text_area[0].value == "It looks at the job."
    at.button(key="w_story_Later").click().run()
    assert at.text_area[0].label == "What step 3 of 10 says" and at.text_area[0].value == "It looks at the job."
    at.text_input(key="w_story_title").set_value("A view")
    at.text_input(key="w_story_link").set_value("http://here/tpp?n=5")
    (add,) = [b for b in at.button if b.label == "Add the step"]
    add.click().run()
    assert not at.exception and at.text_area[0].label == "What step 11 of 11 says"
    stored = Plan.of_json(ledger.store().story(story.commit.set_id, "Bob"))
    assert [s.key for s in stored.slides][2::8] == ["cheats", "pin:1"] and stored.slides[
        -1
    ].link == "http://here/tpp?n=5"
    assert ledger.store().story(story.commit.set_id, "Ada") == ""  # Bob's own


def test_a_view_pinned_from_share_is_the_last_step_and_the_made_ones_stay(story):
    at = view("shift_lab", {}, {"who": "Bob"})
    at.text_input(key="w_pin_sentence").set_value("This is the lab.")
    (pin,) = [b for b in at.button if b.label == "Pin to the story"]
    pin.click().run()
    assert not at.exception and "The last step of the story of" in at.success[0].value
    own = Plan.of_json(ledger.store().story(story.commit.set_id, "Bob"))
    made = [Step(k, "", "", ()) for k in ("data", "cheats")]
    (slide,) = [s for s in own.slides if s.sentence]
    pinned = {slide.key: Step(slide.key, slide.title, slide.sentence, ())}
    assert [s.key for s in own.applied(made, pinned)] == ["data", "cheats", slide.key]
    assert own.started(own.applied(made, pinned)) == own.started(made)  # as the editor starts from what is on screen
    assert "/shift" in slide.link or "target=" in slide.link


def test_a_step_with_a_link_that_cannot_be_used_is_refused_in_one_line(story):
    at = view("story", {"step": "1"}, {"who": "Bob"})
    at.text_input(key="w_story_link").set_value("javascript:alert(1)")
    (add,) = [b for b in at.button if b.label == "Add the step"]
    add.click().run()
    assert not at.exception and "is no link" in at.error[0].value
    assert ledger.store().story(story.commit.set_id, "Bob") == ""


def test_on_a_read_only_server_a_story_is_told_and_not_changed(story, monkeypatch):
    monkeypatch.setattr(access, "_now", Access(read_only=True))
    at = view("story")
    assert not at.exception and not at.text_area
    with pytest.raises(DataError, match="read-only"):
        ledger.store().keep_story(story.commit.set_id, "Bob", "[]")


def test_the_command_of_a_set_that_went_on_is_not_passed_off_as_the_commits(story):
    assert story_view._command(story).startswith("saeeval run --select set:")
    ledger.store().decide(story.commit.set_id, "Ada", {5: "keep"})
    assert "has changed since" in story_view._command(story)
