"""A caller's names, paths, dictionaries and arrays in, records that show themselves out; the CLI calls only this."""
