"""The console, `/console`: what an operator looks at. One file a page, each with its ROUTES.

It reads and changes through the same functions as the admin API, `admin/*.py`; what is here is how it looks.
"""
