"""Packages for tests: wheels, and an index of them."""
