"""Jobs on several ranks: replicas that differ, gradients and data that are not shared as they should be."""
