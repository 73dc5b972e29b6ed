"""Handlers of the API: one function for each operation, each within one transaction.

The name of a handler is its `operationId` in the OpenAPI document, and the first line of its
docstring is the summary.
"""
