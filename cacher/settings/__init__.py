"""Settings: options, the config file, the environment, credentials."""
