"""``make truth``: write docs/truth.md anew, our own table and the rivals'. ``--ours`` leaves theirs as it is.

``--new`` asks the rivals only for the faults that their table lacks.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from .cells import all_cells
from .document import PATH, ours, read, write


def main() -> None:
    """Write the document."""
    logging.getLogger("tickertape").setLevel("ERROR")
    cells = asyncio.run(all_cells())
    if "--ours" in sys.argv[1:]:
        rivals = read()[1]
    else:
        from .rivals.table import table

        rivals = table(read()[1] if "--new" in sys.argv[1:] else "")
    write(ours(cells), rivals)
    print(f"{PATH} is written.")


if __name__ == "__main__":
    main()
