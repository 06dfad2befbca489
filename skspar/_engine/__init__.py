"""Numerics: arrays in, arrays out. Nothing here knows an estimator."""
