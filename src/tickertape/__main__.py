"""``python -m tickertape``."""

from tickertape.cli import main

main()
