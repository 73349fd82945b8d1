"""Parse the messages of LLM APIs, as providers and clients both do. Pure: no I/O, no exceptions for bad input."""
