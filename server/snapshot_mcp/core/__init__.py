"""Leaf modules that every layer may use."""
