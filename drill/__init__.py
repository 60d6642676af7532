"""Everything fails while people click, and a table shows who noticed: ``make drill``."""
