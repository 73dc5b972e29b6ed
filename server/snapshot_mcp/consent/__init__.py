"""Consent: plan, evidence, commit. Every write passes the gate."""
