"""The ledger: an append-only record of every attempt, written before the attempt is sent."""
