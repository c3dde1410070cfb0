"""Studies beyond the paper's tables, and the tools that choose between settings."""
