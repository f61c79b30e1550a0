"""A page on which one's own pictures are filled by base and aligned model."""
