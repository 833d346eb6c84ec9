"""What this peer offers, told to trackers and the DHT.

The other direction, asking what others offer, is `p2p.discovery`.
"""
