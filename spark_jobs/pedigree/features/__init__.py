"""What an author declares with. Importing it needs no Spark."""
