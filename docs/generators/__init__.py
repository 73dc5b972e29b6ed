"""Generators of the documentation that comes from the code: the reference and the pictures."""
