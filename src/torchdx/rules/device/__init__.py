"""Rules about where tensors and models live."""
