"""Rules about losses and probabilities."""
