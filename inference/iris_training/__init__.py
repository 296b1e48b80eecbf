"""Trains the Iris models and packages them for the prediction service.

Runs only while an image is built: nothing of this package, nor scikit-learn, is in the image that serves.
"""

import os

# ONNX Runtime reports models and machines to its makers unless this is set before it is first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
