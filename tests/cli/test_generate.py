"""Generated files: written, found stale, removed."""

from __future__ import annotations

from dcmkit.cli.generate import generated, main, stale


def test_write_check_and_leftovers(tmp_path, capsys):
    root = ["--root", str(tmp_path)]
    assert main(["--check", *root]) == 1
    assert main(root) == 0
    assert main(["--check", *root]) == 0
    assert {"man/dcmkit.1", "completions/_dcmkit", "docs/options.md"} <= set(generated())
    (tmp_path / "man" / "dcmkit.1").write_text("old")
    (tmp_path / "man" / "dcmkit-gone.1").write_text("old")
    assert stale(str(tmp_path)) == ["man/dcmkit.1", "man/dcmkit-gone.1"]
    capsys.readouterr()
    assert main(["--check", *root]) == 1
    assert capsys.readouterr().err.startswith("man/dcmkit.1 is stale; run python -m dcmkit.cli.generate\n")
    assert main(root) == 0
    assert stale(str(tmp_path)) == []
