"""What may be done now: modes, and (later) limits and pauses."""
