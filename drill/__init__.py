"""Everything fails while people click, and the table says who noticed: ``make drill``."""
