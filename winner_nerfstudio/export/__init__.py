"""Results as files of ordinary kinds."""
