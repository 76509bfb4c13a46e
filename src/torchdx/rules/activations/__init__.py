"""Rules about activations and initialisation."""
