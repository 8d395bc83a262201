"""`doctor`: checks of settings, network and store."""
