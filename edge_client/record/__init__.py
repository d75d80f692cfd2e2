"""What is kept of a run: journal, run file, and the story they tell together."""
