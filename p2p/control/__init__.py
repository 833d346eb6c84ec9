"""What a user may ask of a running peer.

This file imports nothing: a command that only asks starts fast.
"""
