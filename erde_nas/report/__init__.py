"""pareto.json in, what people read out: tables for the terminal and Markdown, pictures, one page."""
