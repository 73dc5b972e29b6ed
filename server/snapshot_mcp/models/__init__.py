"""Models of the cloud's objects and of tool results. Results are flat and omit unknown facts."""
