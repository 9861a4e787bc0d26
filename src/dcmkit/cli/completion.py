"""What shells ask while completing: `dcmkit --complete nodes|transfer-syntaxes|sop-classes`, one word a line."""

from __future__ import annotations

import sys


def main(args: list[str]) -> int:
    """Print the words; never an error text, which would land in the middle of somebody's command line."""
    from dcmkit.errors import DcmkitError, ExitCode

    kind = args[0] if args else ""
    try:
        if kind == "nodes":
            words = _nodes(args[1:])
        elif kind == "transfer-syntaxes":
            words = _transfer_syntaxes()
        elif kind == "sop-classes":
            words = _sop_classes()
        else:
            return ExitCode.BAD_USAGE
    except (DcmkitError, OSError, ImportError):
        return ExitCode.BAD_USAGE
    sys.stdout.write("".join(f"{word}\n" for word in words if word.isprintable()))
    return ExitCode.DONE


def _nodes(args: list[str]) -> list[str]:
    from dcmkit.cli.configuration import load

    return [f"@{name}" for name in load(args[0] if args else None).node_names()]


def _transfer_syntaxes() -> list[str]:
    from dcmkit import uids

    return sorted(uids.TRANSFER_SYNTAX_KEYWORDS.values())


def _sop_classes() -> list[str]:
    from dcmkit import uids

    return sorted(uids.SOP_CLASSES.values())
