"""Bugs thrown behind walls (`p2p.concurrency.walls`), and a network of peers that leads to each of them."""
