"""Makes what the documentation takes from the code: its reference and its pictures."""
