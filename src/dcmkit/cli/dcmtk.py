"""Which options DCMTK's tool of a name has: `dcmtk_options.txt`, read only to explain that one is not here yet.

The file holds facts about DCMTK 3.6.7's command lines: a line for each spelling, then the tools that have it.
"""

from __future__ import annotations

import os

_CALLED = {"render": "dcmj2pnm"}
"""What DCMTK calls tools that have another name here."""


def has_option(tool: str, flag: str) -> bool:
    """Whether DCMTK's `tool` takes `flag`."""
    with open(os.path.join(os.path.dirname(__file__), "dcmtk_options.txt"), encoding="ascii") as table:
        for line in table:
            name, *tools = line.split()
            if name == flag:
                wanted = _CALLED.get(tool, tool)
                return wanted in tools or f"dcm{wanted}" in tools  # qrscp is DCMTK's dcmqrscp
    return False
