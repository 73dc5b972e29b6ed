"""The `doctor` command: checks of this machine and of the cloud."""
