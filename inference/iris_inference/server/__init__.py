"""The server: connections, the fast path for prediction requests, and the middleware around every response."""
