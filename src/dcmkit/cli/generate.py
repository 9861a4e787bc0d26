"""Write what is made from the command tree: man/, completions/ and docs/options.md.

python -m dcmkit.cli.generate            write the files, remove man pages of commands that are gone
python -m dcmkit.cli.generate --check    write nothing; exit 1 and name what is stale
"""

from __future__ import annotations

import argparse
import os
import sys

from dcmkit.cli.command_tree import command_tree
from dcmkit.cli.man_pages import man_pages
from dcmkit.cli.option_tables import option_tables
from dcmkit.cli.shells import bash, fish, zsh


def generated() -> dict[str, str]:
    """Path in the repository to text, for every generated file."""
    tree = command_tree()
    files = {f"man/{name}": text for name, text in man_pages(tree).items()}
    files["completions/dcmkit.bash"] = bash(tree)
    files["completions/_dcmkit"] = zsh(tree)
    files["completions/dcmkit.fish"] = fish(tree)
    files["docs/options.md"] = option_tables(tree)
    return files


def stale(root: str) -> list[str]:
    """What in the repository at `root` differs from what would be generated."""
    files = generated()
    wrong = [path for path, text in files.items() if _read(os.path.join(root, path)) != text]
    return wrong + _leftovers(root, files)


def write(root: str) -> list[str]:
    """Bring the repository at `root` up to date; the paths that changed."""
    files = generated()
    changed = [path for path, text in files.items() if _read(os.path.join(root, path)) != text]
    for path in changed:
        os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
        with open(os.path.join(root, path), "w", encoding="utf-8", newline="\n") as file:
            file.write(files[path])
    gone = _leftovers(root, files)
    for path in gone:
        os.unlink(os.path.join(root, path))
    return changed + gone


def _leftovers(root: str, files: dict[str, str]) -> list[str]:
    directory = os.path.join(root, "man")
    names = os.listdir(directory) if os.path.isdir(directory) else []
    return sorted(f"man/{name}" for name in names if name.endswith(".1") and f"man/{name}" not in files)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None


def main(args: list[str] | None = None) -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m dcmkit.cli.generate", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only tell what is stale; exit 1 if anything is")
    parser.add_argument("--root", default=".", help="the repository (default: the current directory)")
    given = parser.parse_args(args)
    paths = stale(given.root) if given.check else write(given.root)
    for path in paths:
        sys.stderr.write(f"{path} is stale; run python -m dcmkit.cli.generate\n" if given.check else f"wrote {path}\n")
    return 1 if given.check and paths else 0


if __name__ == "__main__":
    sys.exit(main())
