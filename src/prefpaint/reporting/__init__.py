"""What people read: the report page, its sentences and figures, the model card."""
