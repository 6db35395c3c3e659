"""Stories: a committed set told in steps, each one figure and one sentence, from the set's own log."""
