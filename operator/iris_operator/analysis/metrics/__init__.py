"""The evidence of each kind of metric: arrays in, arrays out. What a user calls a check is one of these with words."""
