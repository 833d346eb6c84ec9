"""Small pieces of trio that everybody uses."""
