"""The content of pages that are written from the code and the data of the package."""
