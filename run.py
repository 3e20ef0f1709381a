"""Headwater's command line: `python run.py` serves, `python run.py --help` tells the rest."""

from actors.interfaces.cli import main

if __name__ == "__main__":
    main()
