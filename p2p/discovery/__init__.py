"""What others offer, asked of the DHT, trackers and the local network: sources, peers, words, pointers, volunteers.

The other direction, telling others what this peer offers, is `p2p.advertising`.
"""
