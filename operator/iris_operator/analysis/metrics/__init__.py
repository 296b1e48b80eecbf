"""The evidence of each kind of metric: arrays in, arrays out. A check adds settings and explanations to it."""
