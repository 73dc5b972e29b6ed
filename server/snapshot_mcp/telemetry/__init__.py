"""Logs, and spans and metrics for OpenTelemetry and Prometheus; imported only when enabled."""
