"""Who may do what here: API keys with a role and scopes."""
