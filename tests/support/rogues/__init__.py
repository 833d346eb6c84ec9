"""Rogues that are many: identities of few networks that take what places there are."""
