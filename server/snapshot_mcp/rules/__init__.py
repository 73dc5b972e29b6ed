"""Pure decisions: no I/O, and time as an argument."""
