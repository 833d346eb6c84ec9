"""Decisions in the DHT, without IO: routing, lookups, which records are kept, and what is published when."""
