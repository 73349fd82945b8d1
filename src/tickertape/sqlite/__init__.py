"""What every SQLite file here needs, whoever keeps what in it: words for what is wrong with it, and its upkeep."""
