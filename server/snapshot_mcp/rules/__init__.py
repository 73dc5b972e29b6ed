"""Pure decision functions: no I/O, and time as an argument."""
