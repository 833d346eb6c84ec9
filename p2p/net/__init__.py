"""IO on trio: TLS connections, dialling and listening, DHT datagrams, beacons on the local network, HTTP to trackers.

What arrives is decoded and bounded here; the packages that use this one decide what it means.
"""
