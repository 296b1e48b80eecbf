"""The prediction service: one model, served over HTTP, cached in Redis, recorded in PostgreSQL."""
