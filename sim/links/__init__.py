"""links: bandwidth that transfers share."""
