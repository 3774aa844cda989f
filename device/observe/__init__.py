"""What the terminal says of itself to whoever looks after it: metrics, logs, a doctor, a bundle for support.

None of it names or shows anybody: no person id in a metric, no name, picture, template, PIN or key anywhere.
"""
