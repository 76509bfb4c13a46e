"""The user's own watch."""


def watch() -> str:
    return "tick"
