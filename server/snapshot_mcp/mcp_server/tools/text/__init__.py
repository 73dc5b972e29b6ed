"""Text of the tools' results, written for the model: short lines, and quoted foreign text."""
