"""Runs the command line from a checkout: `python cli.py`. An install has the command `shoal` instead."""

from p2p.commandline.app import main

if __name__ == "__main__":
    main()
