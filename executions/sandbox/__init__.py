"""Programs of users, each in a process of its own, with limits on time, memory and reach.

JavaScript, Python, JSONata and JSON Schemas. `programs` is the door. It asks the `nursery`, one
helper process per worker, to fork a process per program; there `confined` sets the limits and an
evaluator runs the program. No process serves two programs, so nothing passes between them.
"""
