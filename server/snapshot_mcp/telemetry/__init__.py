"""Spans and metrics for OpenTelemetry and Prometheus; loaded only where they are asked for."""
