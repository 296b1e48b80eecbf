"""API keys: stored in PostgreSQL, authenticated in memory, with rate limits over all pods through Redis."""
