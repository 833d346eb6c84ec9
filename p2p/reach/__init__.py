"""Where this peer is, who can dial whom, and what is done where one cannot: the other side calls."""
