"""YAML in, checked and frozen values out: recipes, their sections, hardware profiles."""
