"""Decisions about clusters: the life of an allocation, who is there and who is gone, and which packet goes where."""
