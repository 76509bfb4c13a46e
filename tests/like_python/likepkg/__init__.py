"""A package run by name."""
