"""Platform accounts, their tokens, and what keeps each of them usable."""
