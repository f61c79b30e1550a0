"""Every stage of the paper's scale at true size, with few steps."""
