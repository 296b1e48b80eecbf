"""Records of predictions on their way to PostgreSQL."""
