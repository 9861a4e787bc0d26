"""docs/options.md."""

from __future__ import annotations

from dcmkit.cli.command_tree import command_tree
from dcmkit.cli.option_tables import option_tables
from dcmkit.errors import ExitCode

PAGE = option_tables(command_tree())


def test_commands_options_keys_and_codes():
    assert "| `dcmkit echoscu` |" in PAGE
    assert "| `-pdu` `--max-pdu` | `max_pdu` |" in PAGE
    assert all(f"| {code.value} | {code.description} |" in PAGE for code in ExitCode)


def test_tables_are_rectangular():
    columns = 0
    for line in PAGE.splitlines():
        count = line.replace("\\|", "").count("|")
        assert count in (0, columns or count)
        columns = count
