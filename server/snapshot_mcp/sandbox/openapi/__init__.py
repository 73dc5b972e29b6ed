"""The OpenAPI document of the embedded cloud."""
