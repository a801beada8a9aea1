"""Building blocks of HTML pages: page, charts, pictures, sheets."""
