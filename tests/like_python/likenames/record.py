"""The user's own recorder."""
