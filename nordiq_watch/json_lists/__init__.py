"""JSON objects that hold one long list, such as `{"records": [ … ]}`, read in pieces.

A parser makes millions of objects out of 16 MB before anything can be counted, and holds the interpreter meanwhile.
Here the list is cut into pieces first: its length is known before its elements become objects, and no call works on
more than a piece. A list in its plainest form is cut without being scanned (`plain`); any other is scanned for its
commas and brackets (`scan`) and then cut (`lists`).
"""
