"""The ledger: every attempt, recorded before it is sent; rows are added, never changed."""
