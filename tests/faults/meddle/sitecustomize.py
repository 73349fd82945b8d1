"""Python imports this first in every process that has this folder on its path: what MEDDLE says is done there."""

import os

exec(os.environ.get("MEDDLE", ""))
