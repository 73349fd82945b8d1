"""LiteLLM's own command, started by the Python of its environment."""

import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch one from the network

from litellm import run_server

if __name__ == "__main__":
    sys.exit(run_server())
