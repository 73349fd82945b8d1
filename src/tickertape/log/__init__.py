"""Where streams live: append, commit, then read."""
