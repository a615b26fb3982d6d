"""What another package can add to erde-nas. Each module holds one thing, and pyproject.toml names it."""
