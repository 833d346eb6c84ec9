"""What this peer offers, told to trackers and the DHT.

Its face is three tasks: `TrackerAnnouncer`, `Publisher` for the DHT, and `SeekerSearch` for a peer that cannot be
dialled. Imports nothing of `p2p.compute`: what is offered besides shares comes as `Adverts`. The other direction,
asking what others offer, is `p2p.discovery`.
"""
