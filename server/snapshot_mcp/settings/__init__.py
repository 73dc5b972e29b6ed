"""Settings: environment variables and the policy file."""
