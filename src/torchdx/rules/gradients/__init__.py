"""Rules about gradients and optimisation."""
