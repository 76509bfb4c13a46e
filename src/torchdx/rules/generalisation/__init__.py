"""Rules about what does not carry over to new data."""
