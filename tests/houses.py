"""A small table as people have them: a text, and a missing cell."""

HOUSES = """\
size;city;rooms;price
50;Bonn;2;150
80;Trier;3;180
120;Bonn;4;390
65;Köln;2;260
90;Köln;;330
110;Trier;4;260
"""
