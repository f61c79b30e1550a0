"""Train the reward model on scores and score every candidate."""
