"""Tells trackers and the DHT what this peer offers.

The package's interface is three tasks: `TrackerAnnouncer`, `Publisher` for the DHT, and `SeekerSearch`, with which a
peer that cannot be dialled finds the peers that lack its shares, and calls them. The package imports nothing of
`p2p.compute`: whatever is offered besides shares comes as `Adverts`. The other direction, finding what others offer, is
in `p2p.discovery`.
"""
