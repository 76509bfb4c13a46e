"""Rules about data and images."""
