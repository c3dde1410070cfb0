"""The paper's tables and figures, a module each."""
