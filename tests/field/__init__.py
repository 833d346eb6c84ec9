"""Cases that users of systems like this one reported, tried on Shoal: each test names the report it comes from."""
