"""From stored bytes to replies and matrices. Pure."""
