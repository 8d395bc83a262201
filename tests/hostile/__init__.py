"""Evil archives: whatever they hold, nothing outside the restored directory is touched."""
