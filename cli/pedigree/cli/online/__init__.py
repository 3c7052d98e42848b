"""The commands that ask the server."""
