"""How results are shown and written: figures, tables, self-contained pages, files."""
