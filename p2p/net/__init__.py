"""IO on trio: TLS connections, dialling and listening, DHT datagrams, beacons on the local network, HTTP to trackers.

Whatever arrives is decoded and bounded here; the packages above decide what it means.
"""
