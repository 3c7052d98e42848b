"""What an on-demand view computes, as data: its function's text is parsed to a tree of known operations, never run."""
