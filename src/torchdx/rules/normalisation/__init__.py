"""Rules about normalisation and modes."""
