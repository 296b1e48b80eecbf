"""The prediction service: one model, served over HTTP, cached in Redis, recorded in PostgreSQL."""

import os

# ONNX Runtime reports models and machines to its makers unless this is set before it is first imported, and every
# module that imports it is below this package. It is off by default; set it to 0 to enable it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
