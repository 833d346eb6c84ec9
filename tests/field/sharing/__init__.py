"""Cases of sharing and fetching files."""
