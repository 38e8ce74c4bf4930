"""A process of its own that watches what the engine needs, and so needs neither Postgres nor Redis itself."""
