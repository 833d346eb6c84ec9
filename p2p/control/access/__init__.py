"""Who may command the peer over TCP: the token of scripts, the sessions of browsers, and what its user opened there."""
