"""Where this peer is, which peers can dial each other, and calls: a peer that cannot be dialled dials the others."""
