"""The command line end to end: what a user types, sees and finds afterwards."""
