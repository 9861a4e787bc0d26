"""The command group."""


def main() -> None:
    """Run dcmkit."""
