"""A page on which base and aligned model fill your own pictures."""
