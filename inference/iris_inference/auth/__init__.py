"""Who may ask, for what, and how often: API keys in PostgreSQL, checked in memory, limited over all pods by Redis."""
