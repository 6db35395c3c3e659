"""Rows of stories: what a person made of the story of a set. The newest row of a person decides; none is ever changed."""

from sqlalchemy import text

from saeeval_core.ledger.connection import insert, sound
from saeeval_core.ledger.decisions import DecisionRows


class StoryRows(DecisionRows):
    """Plans of stories as JSON; who presents a set need not own it."""

    def keep_story(self, set_id: int, who: str, plan: str) -> None:
        """Store what somebody made of a set's story; DataError if there is no such set."""
        with self._write() as c:
            self._set(c, set_id)
            insert(c, "stories", {"set_id": set_id, "who": who, "plan": plan})

    def story(self, set_id: int, who: str) -> str:
        """The newest plan of this person for this set; "" if there is none."""
        query = text("select * from stories where set_id = :s and who = :w order by id")
        with self._read() as c:
            found = list(sound("stories", c.execute(query, {"s": set_id, "w": who})))
        return str(found[-1]["plan"]) if found else ""
