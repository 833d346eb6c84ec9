"""The wall around each question to one of several peers or trackers: a bug over one answer leaves the others."""

from p2p.concurrency.walls import Wall

QUESTION = Wall("question to others")
