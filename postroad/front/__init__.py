"""The front: clients of ``listeners.smtp`` on one side, kept-open sessions of sendmail's on the other.

Standard library only.
"""
