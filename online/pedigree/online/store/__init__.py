"""What Redis holds, and how it is read and written."""
