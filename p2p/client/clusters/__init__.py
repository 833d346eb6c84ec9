"""Engines on machines of peers, as programs in Python make them. Each needs its engine where the program runs.

Nothing here is imported before a program asks for it by name: `from p2p import DaskCluster`.
"""
