"""The paper's scale, rehearsed on a machine without a GPU: real architectures with random weights, and few steps."""
