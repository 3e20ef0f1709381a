"""Headwater's command line: `python run.py` serves, `python run.py --help` tells the rest."""

if __name__ == "__main__":
    # Not above: what worker processes are forked from loads this file too, and needs none of that.
    from actors.interfaces.cli import main

    main()
