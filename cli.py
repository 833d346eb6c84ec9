"""Runs the command line from a checkout, as `python cli.py`. An installed Shoal has the command `shoal` instead."""

from p2p.commandline.start import main

if __name__ == "__main__":
    main()
