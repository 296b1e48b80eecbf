"""Trains the Iris models and packages them for the prediction service.

Used only while an image is built: neither this package nor scikit-learn is part of the serving image.
"""

import os

# ONNX Runtime sends telemetry unless this is set before it is first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
