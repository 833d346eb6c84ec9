"""What is decided of shares, without IO: the manifest, the layout in chunks, and who is asked for which of them."""
