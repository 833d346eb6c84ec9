"""Asking the DHT, trackers and the local network what others offer: sources, peers, words, pointers, volunteers.

The other direction, telling others what this peer offers, is `p2p.advertising`.
"""
