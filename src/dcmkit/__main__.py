"""`python -m dcmkit` is `dcmkit`."""

from dcmkit.cli import main

if __name__ == "__main__":
    main()
