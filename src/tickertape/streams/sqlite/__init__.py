"""The SQLite engine: one file, nothing to install. `engine` is the engine, `journal` describes the file."""
