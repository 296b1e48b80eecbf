"""Trains the Iris models and packages them for the prediction service.

Runs only while an image is built: nothing of this package, nor scikit-learn, is in the image that serves.
"""
