"""LiteLLM's own command, started by the Python of its environment."""

import sys

from litellm import run_server

if __name__ == "__main__":
    sys.exit(run_server())
