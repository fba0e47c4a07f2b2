"""What a model may tell of those it learned from: clipping, exact discrete noise, and what both cost in epsilon.

Import what you need from its module. A daemon reads costs (``budget``, ``accountant``) and needs no NumPy for it; the
accounting library is imported when a task with differential privacy asks for a number, never before.
"""
