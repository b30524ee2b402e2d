"""The reading pages, as package data of a wheel (``servecap guide``)."""
