"""Where this peer is, whether others can dial it, and calls, in which a peer that cannot be dialled dials others."""
