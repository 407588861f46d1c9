"""What an investigator would suspect. A file is a hypothesis: which signals, how they join, and the sentence it tells."""
