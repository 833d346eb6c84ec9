"""Asks the DHT, trackers and the local network for what others offer: sources, peers, shares, pointers, volunteers.

The other direction, telling others what this peer offers, is `p2p.advertising`.
"""
