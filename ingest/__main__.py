"""The ``perp`` command.

Worker processes run the script of their parent again up to here, so nothing is imported until the
command is called.
"""


def main() -> None:
    """Entry point of the console script."""
    from ingest.cli import main as perp

    perp()


if __name__ == "__main__":
    main()
