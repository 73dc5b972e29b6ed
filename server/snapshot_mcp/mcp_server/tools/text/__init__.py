"""Text of the tools' results, written for the model: short lines; other people's text is quoted."""
