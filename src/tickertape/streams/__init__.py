"""Where streams live: the contract of an engine, and the engines. Append, commit, then read."""
