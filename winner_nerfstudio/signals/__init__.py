"""What a target is: loaded, checked, normalised, sampled, restored. Import its modules; the package holds none."""
